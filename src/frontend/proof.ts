// The proof that a client is the user it names: finds the secret, asks, judges the answers. It owns the
// messages of the authentication; it ends in a word to its owner, and sends no error itself.
import type { Gate } from '../auth/access.ts'
import { judgeCertificate } from '../auth/certificate.ts'
import { ClientAuth, type ClientAuthStep, type ClientLogin, refusedAtOnce } from '../auth/client-auth.ts'
import { type AuthFailure, failure, wrongPassword } from '../auth/failure.ts'
import type { Tries } from '../auth/failure-limit.ts'
import { type Claims, type Judged, looksLikeToken } from '../auth/jwt.ts'
import type { ScramKeys } from '../auth/scram-keys.ts'
import type { Secret, SecretAnswer } from '../auth/secrets.ts'
import { authenticationOk, parsePasswordMessage } from '../wire/auth-messages.ts'
import type { SecurableStream } from '../wire/byte-stream.ts'
import { Found, Framer } from '../wire/framer.ts'
import { LOGIN_RULES } from '../wire/protocol.ts'
import type { House, Visitor } from './types.ts'
import { isInClear, passwordInClear, takesPasswords } from './web-entrance.ts'

/** In place of a method, where nothing is asked of a client because it must not come in at all. */
export const NO_METHOD = 'none'
const PASSWORD_MAX = 64 * 1024 + 5

export interface ProofParts {
  readonly stream: SecurableStream
  readonly house: House
  readonly visitor: Visitor
  readonly gate: Gate
  /** It is who it says. `last` is still to be sent; `early` came behind the password. */
  onProved(last: Buffer, early: Buffer, claims: Claims | null): void
  /** It is not, or nobody can tell. `reason` is of the closed list of refusals. */
  onFailed(failure: AuthFailure, reason: string): void
}

export class Proof {
  readonly #parts: ProofParts
  readonly #login: Omit<ClientLogin, 'secret'>
  readonly #framer = new Framer(LOGIN_RULES, PASSWORD_MAX, PASSWORD_MAX)
  #auth: ClientAuth | null = null
  #secret: Secret | null = null
  /** A secret is looked up, or a password hashed: nothing is read meanwhile. */
  #isBusy = false
  #hasAnswered = false
  /** A token came in the place of a password. */
  #hasToken = false
  #isOver = false

  /** @param early what came behind the startup packet */
  constructor(parts: ProofParts, early: Buffer) {
    this.#parts = parts
    const { house, gate, visitor, stream } = parts
    const { loopback, tls } = stream.peer
    const encrypted = takesPasswords(stream.peer)
    this.#login = {
      user: visitor.user,
      method: gate.method,
      channel: { loopback, encrypted, endPoint: tls?.endPoint ?? null },
      certificate: judgeCertificate(gate, stream.peer),
      // A rule that trusts says itself whom: those elsewhere are meant.
      trustsAnywhere: gate.trustsAnywhere,
      ...(stream.peer.web === undefined ? {} : { tries: triesOf(house, visitor) }),
    }
    this.#framer.push(early)
  }

  /** Begins with the secret, which may take a question to Postgres. */
  start(): void {
    const { house, visitor, gate } = this.#parts
    const refusal = refusedAtOnce(this.#login)
    if (refusal !== null) {
      this.#fail(refusal, 'not_allowed')
      return
    }
    if (gate.method === 'trust' || gate.method === 'cert') {
      this.#onSecret({ secret: null })
      return
    }
    const answer = house.secrets.lookup(visitor.user, visitor.database)
    if (answer instanceof Promise) this.#await(answer, (found) => this.#onSecret(found))
    else this.#onSecret(answer)
  }

  onData(chunk: Buffer): void {
    // What comes behind a password stays here while that is checked: longer than the chunk is ours.
    this.#framer.push(Buffer.from(chunk))
    this.#readPasswords()
  }

  /** The client has gone. */
  abandon(): void {
    this.#isOver = true
  }

  #await<T>(promise: Promise<T>, then: (value: T) => void): void {
    const { stream } = this.#parts
    this.#isBusy = true
    stream.pause()
    promise
      .then((value) => {
        this.#isBusy = false
        if (this.#isOver) return
        stream.resume()
        then(value)
      })
      .catch((thrown: Error) => stream.destroy(`internal error: ${thrown.message}`))
  }

  #onSecret(answer: SecretAnswer): void {
    if ('failure' in answer) {
      this.#fail(answer.failure, 'auth_query')
      return
    }
    this.#secret = answer.secret
    this.#auth = new ClientAuth(this.#parts.house.auth, { ...this.#login, secret: answer.secret })
    this.#onStep(this.#auth.begin())
    this.#readPasswords()
  }

  #readPasswords(): void {
    while (!this.#isOver && !this.#isBusy) {
      const found = this.#framer.next()
      if (found === Found.Nothing) return
      if (found === Found.Invalid || found === Found.Body || this.#framer.rest > 0 || this.#auth === null) {
        const message = `expected password response, got message type ${this.#framer.type}`
        this.#fail(failure('08P01', message), 'bad_password_message')
        return
      }
      const { src, start, stop } = this.#framer
      const body = Buffer.from(src.subarray(start + 5, stop))
      if (!this.#hasAnswered && this.#isTooOpen(body)) {
        this.#fail(passwordInClear(), 'not_allowed')
        return
      }
      const token = this.#hasAnswered ? null : this.#tokenIn(body)
      this.#hasAnswered = true
      if (token === null) this.#onStep(this.#auth.receive(body))
      else this.#judge(token)
    }
  }

  /** A token in the place of a password. Over TCP it is a password like others. */
  #tokenIn(body: Buffer): string | null {
    const { house, gate, stream } = this.#parts
    if (stream.peer.web === undefined || gate.method !== 'password' || !house.auth.tokens.isOn) return null
    const given = parsePasswordMessage(body)?.toString('latin1') ?? ''
    return looksLikeToken(given) ? given : null
  }

  #judge(token: string): void {
    this.#hasToken = true
    const { house, visitor } = this.#parts
    const judged = house.auth.tokens.judge(token, visitor.user, visitor.address)
    if (judged instanceof Promise) this.#await(judged, (verdict) => this.#onToken(verdict))
    else this.#onToken(judged)
  }

  #onToken(judged: Judged): void {
    if ('sqlstate' in judged) this.#fail(judged, 'auth_failed')
    else if (this.#login.certificate === 'other user')
      this.#fail(wrongPassword(this.#parts.visitor.user), 'auth_failed')
    else {
      this.#isOver = true
      this.#count(true)
      this.#parts.onProved(authenticationOk(), this.#framer.takeTail(), judged)
    }
  }

  /** A driver said its password unasked, where others may listen. */
  #isTooOpen(body: Buffer): boolean {
    const { peer } = this.#parts.stream
    return peer.web !== undefined && !takesPasswords(peer) && isInClear(body)
  }

  #onStep(step: ClientAuthStep): void {
    switch (step.kind) {
      case 'wait':
        this.#await(step.outcome, (outcome) => {
          this.#onStep(outcome)
          this.#readPasswords()
        })
        return
      case 'failure':
        if (step.failure.sqlstate === '28P01') this.#parts.house.secrets.doubt(this.#parts.visitor)
        this.#fail(step.failure, 'auth_failed')
        return
      case 'send':
        this.#parts.stream.write(step.messages)
        return
      case 'success':
        this.#onSuccess(step.messages, step.keys)
    }
  }

  #onSuccess(last: Buffer, keys: ScramKeys | null): void {
    const { house, visitor, onProved } = this.#parts
    if (this.#secret !== null && !house.secrets.learn(visitor, this.#secret, keys)) {
      this.#fail(wrongPassword(visitor.user), 'auth_failed')
      return
    }
    this.#isOver = true
    this.#count(true)
    onProved(last, this.#framer.takeTail(), null)
  }

  #fail(reason: AuthFailure, word: string): void {
    this.#isOver = true
    this.#count(false)
    this.#parts.onFailed(reason, word)
  }

  #count(isIn: boolean): void {
    const method = this.#hasToken ? 'token' : (this.#auth?.method ?? this.#login.method)
    this.#parts.house.counters.logins.add(method, isIn)
  }
}

/** Whoever comes over the web may come from anywhere: wrong passwords are counted before a look at them. */
function triesOf({ auth, time }: House, visitor: Visitor): Tries {
  return auth.failures.triesOf(visitor, time)
}
