// The login of one client: which method it gets, the messages of it, and the verdict. Pure: takes the bodies
// of 'p' messages, gives bytes to send. Never tells an unknown user from a wrong password: same words, same
// number and lengths of messages, same work.
import { createHmac } from 'node:crypto'
import type { Random } from '../util/env.ts'
import {
  authenticationMd5,
  authenticationOk,
  authenticationSasl,
  authenticationSaslContinue,
  authenticationSaslFinal,
  parsePasswordMessage,
  parseSaslInitialResponse,
} from '../wire/auth-messages.ts'
import type { ClientAuthMethod } from './access.ts'
import { type AuthFailure, failure, tooBusy, wrongPassword } from './failure.ts'
import { md5Answer, sameAnswer } from './md5.ts'
import { PasswordWork, PasswordWorkBusy } from './password-work.ts'
import { SCRAM_SHA_256, type ScramKeys, type ScramVerifierKeys, sha256 } from './scram-keys.ts'
import { type ScramReply, ScramServer } from './scram-server.ts'
import type { Md5Secret, PlainSecret, Secret } from './secrets.ts'

/** Iterations for passwords given in plain and for users that do not exist: Postgres' default. */
export const SCRAM_ITERATIONS = 4096
const SALT_BYTES = 16
const MD5_SALT_BYTES = 4

/** Who wants to log in, and how that may be done. */
export interface ClientLogin {
  readonly user: string
  readonly method: ClientAuthMethod
  /** null: unknown, or known without a password. */
  readonly secret: Secret | null
  /** Of the client's stream; `trust` is for peers on this machine only. */
  readonly loopback: boolean
}

/** What to do next, without a wait. */
export type ClientAuthOutcome =
  /** Send `messages`, then take one 'p' message and give its body to `receive`. */
  | { readonly kind: 'send'; readonly messages: Buffer }
  /**
   * Logged in. `messages` ends in AuthenticationOk. `keys` log in to Postgres as the same user, if its
   * verifier there is the one that was checked here; null unless the secret was a SCRAM verifier.
   */
  | { readonly kind: 'success'; readonly messages: Buffer; readonly keys: ScramKeys | null }
  /** Send `failure` as a FATAL ErrorResponse and close. */
  | { readonly kind: 'failure'; readonly failure: AuthFailure }

/**
 * `wait`: a password is being hashed; `outcome` never rejects. Read nothing from the client until it is
 * there.
 */
export type ClientAuthStep =
  | ClientAuthOutcome
  | { readonly kind: 'wait'; readonly outcome: Promise<ClientAuthOutcome> }

/** What all logins of the process share. */
export class ClientAuthContext {
  readonly random: Random
  readonly work: PasswordWork
  /** Makes the salts of users without one, so that asking twice shows the same salt; new in each process. */
  readonly #key: Buffer

  constructor(random: Random, work: PasswordWork = new PasswordWork()) {
    this.random = random
    this.work = work
    this.#key = random.bytes(32)
  }

  /** The salt shown for a user that has no verifier. */
  saltOf(user: string): Buffer {
    return createHmac('sha256', this.#key).update('salt:').update(user).digest().subarray(0, SALT_BYTES)
  }

  /** A secret that nobody knows. */
  hiddenKey(purpose: string): Buffer {
    return createHmac('sha256', this.#key).update('hidden:').update(purpose).digest()
  }

  /**
   * Hashes a plain password ahead of its first login. Call it for each plain secret when a configuration is
   * loaded: otherwise that first login takes longer than one of a user that does not exist. Never rejects.
   */
  async warm(user: string, secret: PlainSecret): Promise<void> {
    try {
      await this.work.keys(secret.password, this.saltOf(user), SCRAM_ITERATIONS)
    } catch {
      // It is hashed at the login instead.
    }
  }
}

type State = 'new' | 'md5' | 'mechanism' | 'clientFirst' | 'clientFinal' | 'busy' | 'over'

/** The login of one client. Call `begin` once, then `receive` for each 'p' message that was asked for. */
export class ClientAuth {
  readonly #context: ClientAuthContext
  readonly #login: ClientLogin
  #state: State = 'new'
  #salt: Buffer = Buffer.alloc(0)
  #scram: ScramServer | null = null

  constructor(context: ClientAuthContext, login: ClientLogin) {
    this.#context = context
    this.#login = login
  }

  /** The first thing to send. With `trust` it is the last as well. */
  begin(): ClientAuthOutcome {
    const { user, method, secret, loopback } = this.#login
    if (method === 'trust') return loopback ? this.#success(null, null) : this.#fail(trustElsewhere())
    if (method === 'md5' && secret?.kind !== 'scram') {
      this.#salt = this.#context.random.bytes(MD5_SALT_BYTES)
      return this.#send('md5', authenticationMd5(this.#salt))
    }
    const salt = secret?.kind === 'scram' ? secret.salt : this.#context.saltOf(user)
    const iterations = secret?.kind === 'scram' ? secret.iterations : SCRAM_ITERATIONS
    this.#scram = new ScramServer(salt, iterations, this.#context.random)
    return this.#send('mechanism', authenticationSasl([SCRAM_SHA_256]))
  }

  /**
   * Takes the body of a 'p' message (up to MAX_PASSWORD_BODY bytes, without type and length).
   * A message of another type is the caller's to refuse (08P01).
   */
  receive(body: Buffer): ClientAuthStep {
    const scram = this.#scram
    if (this.#state === 'md5') return this.#onMd5(body)
    if (scram === null) return this.#fail(unexpected())
    if (this.#state === 'mechanism') return this.#onMechanism(scram, body)
    if (this.#state === 'clientFirst') return this.#challenge(scram.onClientFirst(body))
    if (this.#state === 'clientFinal') return this.#onClientFinal(scram, body)
    return this.#fail(unexpected())
  }

  #onMd5(body: Buffer): ClientAuthOutcome {
    const { user, secret } = this.#login
    const given = parsePasswordMessage(body)
    if (given === null) return this.#fail(failure('08P01', 'invalid password packet size'))
    if (given.length === 0) return this.#fail(failure('28P01', 'empty password returned by client'))
    const hidden: Md5Secret = { kind: 'md5', hash: this.#context.hiddenKey('md5').toString('hex', 0, 16) }
    const known = secret === null || secret.kind === 'scram' ? null : secret
    const right = sameAnswer(given, md5Answer(user, known ?? hidden, this.#salt))
    return right && usable(known) ? this.#success(null, null) : this.#fail(wrongPassword(user))
  }

  #onMechanism(scram: ScramServer, body: Buffer): ClientAuthOutcome {
    const first = parseSaslInitialResponse(body)
    if (first === null) return this.#fail(failure('08P01', 'invalid message format'))
    if (first.mechanism !== SCRAM_SHA_256) {
      return this.#fail(failure('08P01', 'client selected an invalid SASL authentication mechanism'))
    }
    if (first.data === null) return this.#send('clientFirst', authenticationSaslContinue(Buffer.alloc(0)))
    return this.#challenge(scram.onClientFirst(first.data))
  }

  #challenge(reply: ScramReply): ClientAuthOutcome {
    if (!reply.ok) return this.#fail(reply.failure)
    return this.#send('clientFinal', authenticationSaslContinue(reply.message))
  }

  #onClientFinal(scram: ScramServer, body: Buffer): ClientAuthStep {
    const reply = scram.onClientFinal(body)
    if (!reply.ok) return this.#fail(reply.failure)
    const { user, secret } = this.#login
    if (secret?.kind === 'scram') return this.#judge(scram, secret, true)
    if (secret?.kind !== 'plain') return this.#judge(scram, this.#hiddenKeys(), false)
    try {
      const keys = this.#context.work.keys(secret.password, this.#context.saltOf(user), SCRAM_ITERATIONS)
      if (!(keys instanceof Promise)) return this.#judge(scram, verifierOf(keys), usable(secret))
      this.#state = 'busy'
      const judged = keys.then((known) => this.#judge(scram, verifierOf(known), usable(secret)))
      return { kind: 'wait', outcome: judged.catch(() => this.#fail(tooBusy())) }
    } catch (error) {
      if (error instanceof PasswordWorkBusy) return this.#fail(tooBusy())
      throw error
    }
  }

  #hiddenKeys(): ScramVerifierKeys {
    return { storedKey: this.#context.hiddenKey('stored'), serverKey: this.#context.hiddenKey('server') }
  }

  #judge(scram: ScramServer, keys: ScramVerifierKeys, mayPass: boolean): ClientAuthOutcome {
    const verdict = scram.verify(keys)
    // A second 'p' message while the password was being hashed ended the login.
    if (this.#state === 'over') return this.#fail(unexpected())
    if (!verdict.ok || !mayPass) return this.#fail(wrongPassword(this.#login.user))
    const passOn = this.#login.secret?.kind === 'scram'
    const own = passOn ? { clientKey: verdict.clientKey, serverKey: keys.serverKey } : null
    return this.#success(authenticationSaslFinal(verdict.serverFinal), own)
  }

  #send(next: State, messages: Buffer): ClientAuthOutcome {
    this.#state = next
    return { kind: 'send', messages }
  }

  #success(last: Buffer | null, keys: ScramKeys | null): ClientAuthOutcome {
    this.#state = 'over'
    const ok = authenticationOk()
    return { kind: 'success', messages: last === null ? ok : Buffer.concat([last, ok]), keys }
  }

  #fail(reason: AuthFailure): ClientAuthOutcome {
    this.#state = 'over'
    return { kind: 'failure', failure: reason }
  }
}

function verifierOf(keys: ScramKeys): ScramVerifierKeys {
  return { storedKey: sha256(keys.clientKey), serverKey: keys.serverKey }
}

/** An empty password is no password, as in Postgres. */
function usable(secret: PlainSecret | Md5Secret | null): boolean {
  return secret !== null && !(secret.kind === 'plain' && secret.password === '')
}

function unexpected(): AuthFailure {
  return failure('08P01', 'unexpected password message')
}

function trustElsewhere(): AuthFailure {
  return {
    sqlstate: '28000',
    message: 'logging in without a password is allowed from this machine only',
    detail: '',
    hint: 'Set client.auth to scram-sha-256 and give the user a password.',
  }
}
