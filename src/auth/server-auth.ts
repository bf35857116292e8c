// Our login to one Postgres server: answers its Authentication messages. Pure: takes their bodies, gives
// bytes to send. Never sends a password in the clear over a line that others can read, and never believes an
// AuthenticationOk that comes before the server has proved itself.
import type { ChannelBinding } from '../config/types.ts'
import type { Random } from '../util/env.ts'
import {
  type AuthenticationRequest,
  parseAuthentication,
  passwordMessage,
  saslInitialResponse,
  saslResponse,
} from '../wire/auth-messages.ts'
import { type AuthFailure, failure, tooBusy } from './failure.ts'
import { md5Answer } from './md5.ts'
import { type PasswordWork, PasswordWorkBusy } from './password-work.ts'
import { type Binding, ScramClient, type ScramCredential, ScramServerError } from './scram-client.ts'
import { SCRAM_SHA_256, SCRAM_SHA_256_PLUS, type ScramKeys } from './scram-keys.ts'
import type { Secret } from './secrets.ts'

/** What we log in with: a secret, or the keys that a client's own SCRAM login left with us. */
export type ServerCredential = Secret | ({ readonly kind: 'keys' } & ScramKeys)

export interface ServerLogin {
  readonly user: string
  /** null: none known, which is enough for a server that trusts us. */
  readonly credential: ServerCredential | null
  /** "host:port" or the socket's path, for error messages. */
  readonly where: string
  readonly line: Line
}

/** What is known of the stream below a login. */
export interface Line {
  readonly isEncrypted: boolean
  /** Nobody else can read it: TLS, or a peer on this machine. */
  readonly isConfidential: boolean
  /** The server has shown a certificate of an authority that we know: it is who it claims to be. */
  readonly isProven: boolean
  /** The hash of its certificate to which SCRAM can be bound; null where there is none. */
  readonly endPoint: Buffer | null
  readonly channelBinding: ChannelBinding
}

/** What to do next, without a wait. */
export type ServerAuthOutcome =
  /** Send `bytes` (a complete 'p' message) and go on reading. */
  | { readonly kind: 'reply'; readonly bytes: Buffer }
  /** Nothing to send; go on reading. */
  | { readonly kind: 'more' }
  /** AuthenticationOk, and it may be believed. */
  | { readonly kind: 'ok' }
  /** Close the connection. The text names no secret; 28P01 and 28000 are for good, the others may pass. */
  | { readonly kind: 'error'; readonly failure: AuthFailure }

/**
 * `wait`: the password is being hashed; `outcome` never rejects. A message that comes meanwhile is an error.
 */
export type ServerAuthStep =
  | ServerAuthOutcome
  | { readonly kind: 'wait'; readonly outcome: Promise<ServerAuthOutcome> }

/** The machinery that all logins of the process share. */
export interface ServerAuthMachinery {
  readonly random: Random
  readonly work: PasswordWork
}

type State = 'start' | 'passwordSent' | 'scramFirst' | 'hashing' | 'scramFinal' | 'proved' | 'over'

/**
 * The login of one server connection: give the body of each 'R' message to `receive`. ErrorResponse is the
 * caller's.
 */
export class ServerAuth {
  readonly #login: ServerLogin
  readonly #scram: ScramClient
  #state: State = 'start'
  #isBound = false

  constructor(login: ServerLogin, machinery: ServerAuthMachinery) {
    this.#login = login
    this.#scram = new ScramClient({ ...machinery, isProven: login.line.isProven })
  }

  /** Takes the body of an Authentication message (without type and length). Never throws on what it says. */
  receive(body: Buffer): ServerAuthStep {
    const request = parseAuthentication(body)
    if (request === null) return this.#fail('08P01', 'sent a malformed authentication message')
    try {
      return this.#answer(request)
    } catch (error) {
      return this.#caught(error)
    }
  }

  #answer(request: AuthenticationRequest): ServerAuthStep {
    switch (request.kind) {
      case 'ok':
        return this.#onOk()
      case 'cleartext':
        return this.#state === 'start' ? this.#onCleartext() : this.#outOfOrder()
      case 'md5':
        return this.#state === 'start' ? this.#onMd5(request.salt) : this.#outOfOrder()
      case 'sasl':
        return this.#state === 'start' ? this.#onSasl(request.mechanisms) : this.#outOfOrder()
      case 'saslContinue':
        return this.#state === 'scramFirst' ? this.#onContinue(request.data) : this.#outOfOrder()
      case 'saslFinal':
        return this.#state === 'scramFinal' ? this.#onFinal(request.data) : this.#outOfOrder()
      case 'unsupported':
        return this.#fail('28000', `asks for ${request.method}, which pgmux does not support`, METHOD_HINT)
    }
  }

  #onOk(): ServerAuthOutcome {
    const believed = this.#state === 'start' || this.#state === 'passwordSent' || this.#state === 'proved'
    if (!believed) return this.#outOfOrder()
    if (this.#mustBind && !this.#isBound) return this.#notBound('lets us in without it')
    this.#state = 'over'
    return { kind: 'ok' }
  }

  get #mustBind(): boolean {
    return this.#login.line.channelBinding === 'require'
  }

  #onCleartext(): ServerAuthOutcome {
    const { credential, line } = this.#login
    if (this.#mustBind) return this.#notBound('asks for the password in the clear')
    if (credential === null) return this.#noPassword()
    if (!line.isConfidential) {
      return this.#fail('28000', 'asks for the password in the clear over a line without TLS', CLEARTEXT_HINT)
    }
    if (credential.kind !== 'plain') return this.#wrongKind('the password itself', credential.kind)
    return this.#reply('passwordSent', passwordMessage(credential.password))
  }

  #onMd5(salt: Buffer): ServerAuthOutcome {
    const { credential, user } = this.#login
    if (this.#mustBind) return this.#notBound('asks for md5')
    if (credential === null) return this.#noPassword()
    if (credential.kind !== 'plain' && credential.kind !== 'md5') {
      return this.#wrongKind('an md5 answer', credential.kind)
    }
    return this.#reply('passwordSent', passwordMessage(md5Answer(user, credential, salt)))
  }

  #onSasl(mechanisms: readonly string[]): ServerAuthOutcome {
    const { credential, line } = this.#login
    const hasPlus = mechanisms.includes(SCRAM_SHA_256_PLUS)
    if (hasPlus && !line.isEncrypted) {
      return this.#fail('08P01', 'offers SCRAM-SHA-256-PLUS on a connection without TLS')
    }
    const binding = bindingOf(line, hasPlus)
    const mechanism = typeof binding === 'string' ? SCRAM_SHA_256 : SCRAM_SHA_256_PLUS
    if (this.#mustBind && mechanism === SCRAM_SHA_256) return this.#notBound(whyUnbound(line, hasPlus))
    if (!mechanisms.includes(mechanism)) {
      return this.#fail('28000', 'offers no SASL mechanism that pgmux supports', METHOD_HINT)
    }
    if (credential === null) return this.#noPassword()
    const usable = scramCredential(credential)
    if (usable === null) return this.#wrongKind('SCRAM', credential.kind)
    this.#isBound = mechanism === SCRAM_SHA_256_PLUS
    // As libpq does: Postgres takes the user of the startup packet and ignores the one in here.
    const first = this.#scram.start('', usable, binding)
    return this.#reply('scramFirst', saslInitialResponse(mechanism, first))
  }

  #onContinue(data: Buffer): ServerAuthStep {
    const final = this.#scram.onContinue(data)
    if (!(final instanceof Promise)) return this.#reply('scramFinal', saslResponse(final))
    this.#state = 'hashing'
    const sent = final.then((bytes) => {
      if (this.#state !== 'hashing') return this.#outOfOrder()
      return this.#reply('scramFinal', saslResponse(bytes))
    })
    return { kind: 'wait', outcome: sent.catch((error: unknown) => this.#caught(error)) }
  }

  #onFinal(data: Buffer): ServerAuthOutcome {
    this.#scram.onFinal(data)
    this.#state = 'proved'
    return { kind: 'more' }
  }

  #reply(next: State, bytes: Buffer): ServerAuthOutcome {
    this.#state = next
    return { kind: 'reply', bytes }
  }

  #caught(error: unknown): ServerAuthOutcome {
    if (error instanceof ScramServerError) return this.#fail(error.sqlstate, error.message)
    if (error instanceof PasswordWorkBusy) {
      this.#state = 'over'
      return { kind: 'error', failure: tooBusy() }
    }
    return this.#fail('XX000', 'could not be logged in to: the password could not be hashed')
  }

  #outOfOrder(): ServerAuthOutcome {
    return this.#fail('08P01', 'sent an authentication message out of order')
  }

  #notBound(what: string): ServerAuthOutcome {
    return this.#fail('28000', `${what}, and upstream.channel_binding is require`, BINDING_HINT)
  }

  #noPassword(): ServerAuthOutcome {
    const { user } = this.#login
    const way = `set users.${user}.password or upstream.password`
    return this.#fail('28P01', `asks for a password for user ${user} and none is configured: ${way}`)
  }

  #wrongKind(wanted: string, kind: string): ServerAuthOutcome {
    const known = KNOWN_AS.get(kind) ?? 'another kind of secret'
    const message = `asks for ${wanted} for user ${this.#login.user} and only ${known} is configured`
    return this.#fail('28P01', message, 'Configure the plain password of this user.')
  }

  #fail(sqlstate: string, what: string, hint = ''): ServerAuthOutcome {
    this.#state = 'over'
    return {
      kind: 'error',
      failure: { ...failure(sqlstate, `Postgres at ${this.#login.where} ${what}`), hint },
    }
  }
}

const METHOD_HINT = 'Use scram-sha-256, md5 or password for this user in pg_hba.conf of that server.'
const CLEARTEXT_HINT = 'Set upstream.tls.mode to require, or use scram-sha-256 in pg_hba.conf of that server.'
const BINDING_HINT =
  'Channel binding needs TLS, scram-sha-256 in pg_hba.conf of that server, and a password of that kind.'
const KNOWN_AS = new Map([
  ['md5', 'an md5 hash'],
  ['scram', 'a SCRAM verifier'],
  ['keys', 'a SCRAM key'],
])

/** As libpq chooses: bound where both can, and where only we can, saying so, which shows who took it away. */
function bindingOf(line: Line, hasPlus: boolean): Binding {
  if (!line.isEncrypted || line.channelBinding === 'disable' || line.endPoint === null) return 'cannot'
  return hasPlus ? { endPoint: line.endPoint } : 'not offered'
}

function whyUnbound(line: Line, hasPlus: boolean): string {
  if (!line.isEncrypted) return 'is reached without TLS'
  if (line.endPoint === null) return 'has a certificate whose signature defines no channel binding'
  return hasPlus ? 'cannot be bound to' : 'does not offer SCRAM-SHA-256-PLUS'
}

function scramCredential(credential: ServerCredential): ScramCredential | null {
  if (credential.kind === 'plain') return { password: credential.password }
  if (credential.kind === 'keys') return credential
  return null
}
