// The login of one client: which method it gets, the messages of it, and the verdict. Pure: takes the bodies
// of 'p' messages, gives bytes to send. Never tells an unknown user from a wrong password: same words, same
// number and lengths of messages, same work.
import { createHmac, createSecretKey, type KeyObject } from 'node:crypto'
import type { Random } from '../util/env.ts'
import {
  authenticationCleartext,
  authenticationMd5,
  authenticationOk,
  authenticationSasl,
  authenticationSaslContinue,
  authenticationSaslFinal,
  parsePasswordMessage,
  parseSaslInitialResponse,
} from '../wire/auth-messages.ts'
import type { ClientAuthMethod } from './access.ts'
import type { CertificateVerdict } from './certificate.ts'
import { type AuthFailure, failure, tooBusy, wrongPassword } from './failure.ts'
import { md5Answer, sameAnswer } from './md5.ts'
import { FailureLimit, tooManyFailures, type Tries } from './failure-limit.ts'
import { NO_TOKENS, type TokenJudge } from './jwt.ts'
import { limitedCheck } from './limited-check.ts'
import { type PasswordAnswer, verifierOf } from './password-check.ts'
import { PasswordWork, PasswordWorkBusy } from './password-work.ts'
import { SCRAM_SHA_256, SCRAM_SHA_256_PLUS, type ScramKeys, type ScramVerifierKeys } from './scram-keys.ts'
import { type ScramReply, ScramServer } from './scram-server.ts'
import type { Md5Secret, PlainSecret, Secret } from './secrets.ts'

/** Iterations for passwords given in plain and for users that do not exist: Postgres' default. */
export const SCRAM_ITERATIONS = 4096
const SALT_BYTES = 16
/** Salts that are remembered, and the longest name that Postgres knows. */
const SALTS_MAX = 1000
const NAME_MAX = 63
const MD5_SALT_BYTES = 4

/** Who wants to log in, and how that may be done. */
export interface ClientLogin {
  readonly user: string
  readonly method: ClientAuthMethod
  /** null: unknown, or known without a password. */
  readonly secret: Secret | null
  readonly channel: Channel
  readonly certificate: CertificateVerdict
  /** `trust` is not for clients on this machine only. */
  readonly trustsAnywhere: boolean
  /** Counts its wrong passwords; absent: nobody does. */
  readonly tries?: Tries
}

/** What is known of the connection on which a client logs in. */
export interface Channel {
  /** The client is on this machine. */
  readonly loopback: boolean
  readonly encrypted: boolean
  /** To which SCRAM can be bound; null: it cannot. */
  readonly endPoint: Buffer | null
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
  /** For those who come over WebSocket and HTTP. */
  readonly failures = new FailureLimit()
  /** The same. */
  tokens: TokenJudge = NO_TOKENS
  /** Makes the salts of users without one, so that asking twice shows the same salt; new in each process. */
  readonly #key: KeyObject
  /** Those asked for last. */
  readonly #salts = new Map<string, Buffer>()
  #hasVerifiers = false
  #hasOthers = false

  constructor(random: Random, work: PasswordWork = new PasswordWork()) {
    this.random = random
    this.work = work
    this.#key = createSecretKey(random.bytes(32))
  }

  /** The salt shown for a user that has no verifier. Whoever is there is asked for as often as who is not. */
  saltOf(user: string): Buffer {
    const known = this.#salts.get(user)
    if (known !== undefined) return known
    const salt = this.#mac('salt', user).subarray(0, SALT_BYTES)
    if (user.length > NAME_MAX) return salt
    if (this.#salts.size >= SALTS_MAX) this.#salts.clear()
    this.#salts.set(user, salt)
    return salt
  }

  /** Unknown users are asked in the way of those that there are. */
  notice(secret: Secret): void {
    if (secret.kind === 'scram') this.#hasVerifiers = true
    else this.#hasOthers = true
  }

  /** Whether method md5 asks a user without a secret for an md5 answer; for a verifier it asks for SCRAM. */
  asksForMd5(user: string): boolean {
    if (!this.#hasVerifiers || !this.#hasOthers) return !this.#hasVerifiers
    return this.#mac('method', user)[0] % 2 === 0
  }

  /** A secret that nobody knows. */
  hiddenKey(purpose: string): Buffer {
    return this.#mac('hidden', purpose)
  }

  #mac(purpose: string, text: string): Buffer {
    return createHmac('sha256', this.#key).update(`${purpose}:`).update(text).digest()
  }

  /**
   * Prepares for logins with a secret; a plain password is hashed. Call it for each secret when it becomes
   * known: otherwise the first login differs from one of a user that does not exist. Never rejects.
   */
  async warm(user: string, secret: Secret): Promise<void> {
    this.notice(secret)
    if (secret.kind !== 'plain') return
    try {
      await this.work.keys(secret.password, this.saltOf(user), SCRAM_ITERATIONS)
    } catch {
      // It is hashed at the login instead.
    }
  }
}

type State = 'new' | 'password' | 'md5' | 'mechanism' | 'clientFirst' | 'clientFinal' | 'busy' | 'over'

/** The login of one client. Call `begin` once, then `receive` for each 'p' message that was asked for. */
export class ClientAuth {
  readonly #context: ClientAuthContext
  readonly #login: ClientLogin
  /** How it was asked, as far as it has come: not always as configured. */
  method: ClientAuthMethod
  #state: State = 'new'
  #salt: Buffer = Buffer.alloc(0)
  #scram: ScramServer | null = null

  constructor(context: ClientAuthContext, login: ClientLogin) {
    this.#context = context
    this.#login = login
    this.method = login.method
    if (login.secret !== null) context.notice(login.secret)
  }

  /** The first thing to send. With `trust` and `cert` it is the last as well. */
  begin(): ClientAuthOutcome {
    const refusal = refusedAtOnce(this.#login)
    if (refusal !== null) return this.#fail(refusal)
    switch (this.#login.method) {
      case 'trust':
      case 'cert':
        return this.#success(null, null)
      case 'password':
        return this.#send('password', authenticationCleartext())
      case 'md5':
        if (!this.#asksForMd5()) break
        this.#salt = this.#context.random.bytes(MD5_SALT_BYTES)
        return this.#send('md5', authenticationMd5(this.#salt))
    }
    this.method = 'scram-sha-256'
    return this.#send('mechanism', authenticationSasl(this.#mechanisms()))
  }

  #asksForMd5(): boolean {
    const { user, secret } = this.#login
    return secret === null ? this.#context.asksForMd5(user) : secret.kind !== 'scram'
  }

  #mechanisms(): readonly string[] {
    const { method, channel } = this.#login
    if (channel.endPoint === null) return [SCRAM_SHA_256]
    return method === 'scram-sha-256-plus' ? [SCRAM_SHA_256_PLUS] : [SCRAM_SHA_256_PLUS, SCRAM_SHA_256]
  }

  /**
   * Takes the body of a 'p' message (up to MAX_PASSWORD_BODY bytes, without type and length).
   * A message of another type is the caller's to refuse (08P01).
   */
  receive(body: Buffer): ClientAuthStep {
    const scram = this.#scram
    if (this.#state === 'password') return this.#onPassword(body)
    if (this.#state === 'md5') return this.#onMd5(body)
    if (this.#state === 'mechanism') return this.#onMechanism(body)
    if (this.#state === 'clientFirst' && scram !== null) return this.#challenge(scram.onClientFirst(body))
    if (this.#state === 'clientFinal' && scram !== null) return this.#onClientFinal(scram, body)
    return this.#fail(unexpected())
  }

  /** The password in a PasswordMessage, or what is wrong with that. */
  #given(body: Buffer): Buffer | AuthFailure {
    const given = parsePasswordMessage(body)
    if (given === null) return failure('08P01', 'invalid password packet size')
    return given.length === 0 ? failure('28P01', 'empty password returned by client') : given
  }

  #onPassword(body: Buffer): ClientAuthStep {
    const given = this.#given(body)
    if ('sqlstate' in given) return this.#fail(given)
    const { user, secret } = this.#login
    const salt = this.#context.saltOf(user)
    this.#state = 'busy'
    const checked = limitedCheck(
      this.#context.work,
      { user, secret, salt, iterations: SCRAM_ITERATIONS },
      { password: Buffer.from(given), tries: this.#login.tries },
    )
    if (!(checked instanceof Promise)) return this.#onChecked(checked)
    return { kind: 'wait', outcome: checked.then((found) => this.#onChecked(found)) }
  }

  #onChecked(answer: PasswordAnswer | AuthFailure): ClientAuthOutcome {
    // A second 'p' message while the password was being hashed ended the login.
    if (this.#state === 'over') return this.#fail(unexpected())
    if ('sqlstate' in answer) return this.#fail(answer)
    return answer.isRight ? this.#success(null, answer.keys) : this.#fail(wrongPassword(this.#login.user))
  }

  #onMd5(body: Buffer): ClientAuthOutcome {
    const { user, secret } = this.#login
    const given = this.#given(body)
    if ('sqlstate' in given) return this.#fail(given)
    const hidden: Md5Secret = { kind: 'md5', hash: this.#context.hiddenKey('md5').toString('hex', 0, 16) }
    const known = secret === null || secret.kind === 'scram' ? null : secret
    const right = sameAnswer(given, md5Answer(user, known ?? hidden, this.#salt))
    return right && usable(known) ? this.#success(null, null) : this.#fail(wrongPassword(user))
  }

  #onMechanism(body: Buffer): ClientAuthOutcome {
    const first = parseSaslInitialResponse(body)
    if (first === null) return this.#fail(failure('08P01', 'invalid message format'))
    if (!this.#mechanisms().includes(first.mechanism)) {
      return this.#fail(failure('08P01', 'client selected an invalid SASL authentication mechanism'))
    }
    if (first.mechanism === SCRAM_SHA_256_PLUS) this.method = 'scram-sha-256-plus'
    const { user, secret, channel } = this.#login
    const salt = secret?.kind === 'scram' ? secret.salt : this.#context.saltOf(user)
    const iterations = secret?.kind === 'scram' ? secret.iterations : SCRAM_ITERATIONS
    const binding = { endPoint: channel.endPoint, isUsed: first.mechanism === SCRAM_SHA_256_PLUS }
    const wait = this.#login.tries?.take() ?? 0
    if (wait > 0) return this.#fail(tooManyFailures(wait))
    const scram = new ScramServer(salt, iterations, this.#context.random, binding)
    this.#scram = scram
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
    this.#login.tries?.giveBack()
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
    if (this.#login.certificate === 'other user') return this.#fail(otherUser(this.#login))
    const ok = authenticationOk()
    return { kind: 'success', messages: last === null ? ok : Buffer.concat([last, ok]), keys }
  }

  #fail(reason: AuthFailure): ClientAuthOutcome {
    this.#state = 'over'
    return { kind: 'failure', failure: reason }
  }
}

/** An empty password is no password, as in Postgres. */
function usable(secret: PlainSecret | Md5Secret | null): boolean {
  return secret !== null && !(secret.kind === 'plain' && secret.password === '')
}

function unexpected(): AuthFailure {
  return failure('08P01', 'unexpected password message')
}

/** What cannot succeed whatever the client says next, so that nobody has to be asked for its secret. */
export function refusedAtOnce(login: Omit<ClientLogin, 'secret'>): AuthFailure | null {
  const { method, channel, certificate, trustsAnywhere } = login
  if (certificate === 'missing') return failure('28000', 'connection requires a valid client certificate')
  if (method === 'trust' && !channel.loopback && !trustsAnywhere) {
    const hint = 'Set client.auth to scram-sha-256 and give the user a password.'
    return { ...failure('28000', 'logging in without a password is allowed from this machine only'), hint }
  }
  if (method === 'password' && !channel.loopback && !channel.encrypted) {
    const hint = 'Connect with sslmode=require.'
    return { ...failure('28000', 'a password in the clear is taken over TLS only'), hint }
  }
  if (method === 'scram-sha-256-plus' && channel.endPoint === null) return unbindable(channel)
  return null
}

function unbindable({ encrypted }: Channel): AuthFailure {
  const message = 'this server takes SCRAM with channel binding only'
  const hint = encrypted
    ? 'The certificate of the server cannot be bound to: give it one signed with RSA or ECDSA.'
    : 'Connect with sslmode=require.'
  return { ...failure('28000', message), hint }
}

/** Postgres' words where a certificate names somebody else. */
function otherUser({ method, user }: ClientLogin): AuthFailure {
  if (method === 'cert') return failure('28000', `certificate authentication failed for user "${user}"`)
  if (method === 'trust') return failure('28000', `"trust" authentication failed for user "${user}"`)
  return wrongPassword(user)
}
