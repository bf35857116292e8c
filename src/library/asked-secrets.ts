// The secrets of users that only the program knows which embeds pgmux: its hook `authenticate` is asked at
// each login. It remembers nothing and never logs an answer.
import { type AuthFailure, failure } from '../auth/failure.ts'
import { type Claim, parseSecret, type Secret, type SecretAnswer } from '../auth/secrets.ts'
import { systemRandom } from '../net/random.ts'
import type { SecretsElsewhere } from '../routing/secret-keeper.ts'
import { type Answer, askHook } from './asking.ts'
import type { Hooks } from './hooks.ts'

/** Logins that may wait for it at once: the names are whatever clients say. */
const WAITING_MAX = 1000

export class AskedSecrets implements SecretsElsewhere {
  readonly #ask: NonNullable<Hooks['authenticate']>
  readonly #timeoutMs: number
  readonly #report: (problem: string, answer: Answer) => void
  #waiting = 0
  /** Plain passwords come: hashing one takes time, which must not tell who exists. */
  #hasSeenPlain = false
  /** Hashes a password ahead of the login (ClientAuthContext.warm). */
  warm: (user: string, secret: Secret) => Promise<void> = () => Promise.resolve()

  constructor(
    ask: NonNullable<Hooks['authenticate']>,
    timeoutMs: number,
    report: (problem: string, answer: Answer) => void,
  ) {
    this.#ask = ask
    this.#timeoutMs = timeoutMs
    this.#report = report
  }

  async lookup({ user, database }: Claim): Promise<SecretAnswer> {
    if (this.#waiting >= WAITING_MAX) return { failure: noAnswer() }
    this.#waiting++
    const answer = await askHook(() => this.#ask({ user, database }), this.#timeoutMs)
    this.#waiting--
    if ('problem' in answer) return this.#failed(answer.problem, answer)
    const { value } = answer
    if (value === null || value === undefined) return this.#found(user, null)
    if (typeof value !== 'string')
      return this.#failed(`answered with a ${typeof value}, not a secret`, answer)
    return this.#found(user, parseSecret(value))
  }

  /** For users that do not exist the same work as for those that do. */
  async #found(user: string, secret: Secret | null): Promise<SecretAnswer> {
    if (secret?.kind === 'plain') this.#hasSeenPlain = true
    const isPlain = secret === null || secret.kind === 'plain'
    if (this.#hasSeenPlain && isPlain) await this.warm(user, secret ?? nobodys())
    return { secret }
  }

  #failed(problem: string, answer: Answer): SecretAnswer {
    this.#report(problem, answer)
    return { failure: noAnswer() }
  }

  /** Nothing is remembered that could be of yesterday. */
  doubt(): void {}

  keyOf({ user, database }: Claim): string {
    return JSON.stringify([database, user])
  }

  tick(): void {}

  close(): void {}
}

function nobodys(): Secret {
  return { kind: 'plain', password: systemRandom.bytes(16).toString('hex') }
}

function noAnswer(): AuthFailure {
  return failure('58000', 'the password of the user could not be looked up')
}
