// The login to Postgres: startup, authentication, parameters, on a stream that opening.ts makes; with TLS and
// without where the mode allows both, in libpq's order. It owns the stream until it reports; it believes
// nothing a server says before the server has proved itself, and bounds what it says.
import { ServerAuth, type ServerAuthOutcome, type ServerCredential } from '../auth/server-auth.ts'
import type { Refusal } from '../pool/types.ts'
import type { SecurableStream, StreamHandler } from '../wire/byte-stream.ts'
import { parseErrorResponse } from '../wire/error-response.ts'
import { Found, Framer } from '../wire/framer.ts'
import { FromServer, SERVER_RULES } from '../wire/protocol.ts'
import { buildStartup, fromText, LATEST_MINOR } from '../wire/startup.ts'
import { Opening, type OpeningFailure, type Security } from './opening.ts'
import type { Route, ServerParts } from './route.ts'

const MESSAGE_MAX = 64 * 1024
/** A server that never comes to the end of its login messages is no Postgres. */
const MESSAGES_MAX = 1000
/** Where the key is in BackendKeyData, and its longest. */
const KEY_AT = 9
const KEY_MAX = 256
/** SQLSTATEs by which Postgres says that it does not let us in this way: invalid authorization. */
const NOT_LET_IN = /^28/
const KEYS_HINT =
  'pgmux logged in with the SCRAM keys of a client. Its password in Postgres was set since (even the same ' +
  'one gets other keys), or the SCRAM verifier in pgmux is another one: give pgmux the one of pg_authid.'

/** SQLSTATEs of a login that will fail again until somebody changes something. */
const FINAL_CODES = new Set([
  '28000',
  '28P01',
  '3D000',
  '42601',
  '42704',
  '22023',
  '42501',
  '42602',
  '55P02',
  '0A000',
])

/** What a login needs of the parts of a server. Without counters nobody counts its handshakes. */
export type LoginParts = Pick<ServerParts, 'route' | 'random' | 'work'> &
  Partial<Pick<ServerParts, 'counters'>>

export interface LoginResult {
  readonly stream: SecurableStream
  readonly parameters: Map<string, string>
  readonly pid: number
  readonly key: Buffer
}

/** Told once how the login ended. `isFinal`: see OpenFailure. */
export interface LoginEvents {
  onLoggedIn(result: LoginResult): void
  onLoginFailed(refusal: Refusal, isFinal: boolean): void
}

/** One way in that did not work. */
interface Attempt {
  readonly refusal: Refusal
  readonly isFinal: boolean
}

/** For a stream that is given up: what still comes concerns nobody. */
const NOBODY: StreamHandler = { onData() {}, onDrain() {}, onEnd() {}, onClose() {} }

export class Login implements StreamHandler {
  readonly #parts: LoginParts
  readonly #parameters: ReadonlyMap<string, string>
  readonly #events: LoginEvents
  readonly #ways: Security[]
  #framer = new Framer(SERVER_RULES, MESSAGE_MAX, MESSAGE_MAX)
  #reported = new Map<string, string>()
  #opening: Opening
  #stream: SecurableStream | null = null
  #auth: ServerAuth | null = null
  /** What came of the first way, where there was a second. */
  #first: Attempt | null = null
  #credential: ServerCredential | null = null
  #isAuthenticated = false
  #messages = 0
  #pid = 0
  #key: Buffer = Buffer.alloc(0)
  #isOver = false

  /** @param parameters startup parameters besides user and database, one character a byte. */
  constructor(parts: LoginParts, parameters: ReadonlyMap<string, string>, events: LoginEvents) {
    this.#parts = parts
    this.#parameters = parameters
    this.#events = events
    this.#ways = waysIn(parts.route)
    this.#opening = this.#open()
  }

  /** Gives up: nothing is reported any more. */
  cancel(reason: string): void {
    this.#isOver = true
    this.#opening.cancel(reason)
    this.#stream?.destroy(reason)
  }

  /** Took too long. */
  timeOut(): void {
    this.#fail(
      this.#unreachable(`the login took longer than ${this.#parts.route.connectTimeoutMs} ms`),
      false,
    )
  }

  onData(chunk: Buffer): void {
    if (this.#isOver) return
    this.#framer.push(chunk)
    for (;;) {
      const found = this.#framer.next()
      if (found === Found.Nothing || this.#isOver) return
      if (
        found === Found.Invalid ||
        found === Found.Body ||
        this.#framer.rest > 0 ||
        ++this.#messages > MESSAGES_MAX
      ) {
        this.#violation(found === Found.Invalid ? this.#framer.problem : 'an endless message')
        return
      }
      this.#onMessage()
      // The login is over at ReadyForQuery; what follows would be an answer to nothing.
      if (this.#isOver) {
        if (!this.#framer.atBoundary) this.#stream?.destroy('bytes behind ReadyForQuery at login')
        return
      }
    }
  }

  onDrain(): void {}

  onEnd(): void {
    this.#fail(this.#unreachable(`Postgres closed the connection ${this.#when()}`), false)
  }

  onClose(reason: string): void {
    this.#fail(this.#unreachable(`${reason} ${this.#when()}`), false)
  }

  /** A server that does not take our certificate may get no further than that. */
  #when(): string {
    const isEarly = this.#messages === 0 && this.#stream?.peer.encrypted === true
    return isEarly ? 'right after the TLS handshake: its log knows why' : 'during the login'
  }

  #open(): Opening {
    const { route } = this.#parts
    return new Opening(route, this.#ways[0], route.connectTimeoutMs, (failure, stream) => {
      if (stream === null) this.#onNotOpened(failure as OpeningFailure)
      else this.#startUp(stream)
    })
  }

  #onNotOpened({ why, isFinal, isTls }: OpeningFailure): void {
    const refusal = this.#unreachable(why)
    if (isTls) this.#parts.counters?.tlsHandshakes.add(['servers', 'failed'])
    // As libpq: `prefer` takes a handshake that fails for a server without TLS.
    const mayGoOn = isTls && this.#ways[0] === 'offered'
    if (!mayGoOn || !this.#tryNextWay({ refusal, isFinal })) this.#fail(refusal, isFinal)
  }

  #startUp(stream: SecurableStream): void {
    const { route, random, work } = this.#parts
    this.#stream = stream
    stream.handler = this
    const credential = route.credential()
    const { encrypted, loopback, tls } = stream.peer
    this.#credential = credential
    if (encrypted) this.#parts.counters?.tlsHandshakes.add(['servers', 'ok'])
    // Postgres has no TLS: there is no other way than the one that begins here.
    if (this.#ways[0] === 'offered' && !encrypted) this.#ways.length = 1
    const line = {
      isEncrypted: encrypted,
      isConfidential: encrypted || loopback,
      isProven: encrypted && route.checksCertificate,
      endPoint: tls?.endPoint ?? null,
      channelBinding: route.channelBinding,
    }
    this.#auth = new ServerAuth({ user: route.user, credential, where: route.where, line }, { random, work })
    const parameters = new Map([['user', fromText(route.user)]])
    parameters.set('database', fromText(route.dbname))
    for (const [name, value] of this.#parameters) parameters.set(name, value)
    stream.write(buildStartup({ minor: LATEST_MINOR, parameters }))
  }

  /** Begins anew in the next way, where there is one. */
  #tryNextWay(failed: Attempt): boolean {
    if (this.#isOver || this.#ways.length < 2) return false
    this.#first = failed
    this.#ways.shift()
    if (this.#stream !== null) {
      this.#stream.handler = NOBODY
      this.#stream.destroy('Postgres did not let us in this way')
    }
    this.#stream = null
    this.#auth = null
    this.#framer = new Framer(SERVER_RULES, MESSAGE_MAX, MESSAGE_MAX)
    this.#reported = new Map()
    this.#opening = this.#open()
    return true
  }

  #onMessage(): void {
    const { type, src, start, stop } = this.#framer
    switch (type) {
      case FromServer.Authentication:
        this.#onAuthentication(Buffer.from(src.subarray(start + 5, stop)))
        return
      case FromServer.ErrorResponse:
        this.#onError(src, start, stop)
        return
      case FromServer.NegotiateProtocolVersion:
      case FromServer.NoticeResponse:
        return
      case FromServer.ParameterStatus:
        this.#onParameter(src, start, stop)
        return
      case FromServer.BackendKeyData:
        if (stop - start < KEY_AT + 4 || stop - start > KEY_AT + KEY_MAX) {
          this.#violation('a broken cancel key')
          return
        }
        this.#pid = src.readInt32BE(start + 5)
        this.#key = Buffer.from(src.subarray(start + KEY_AT, stop))
        return
      case FromServer.ReadyForQuery:
        this.#onReady()
        return
      default:
        this.#violation(`a message of type ${type}`)
    }
  }

  #onAuthentication(body: Buffer): void {
    const auth = this.#auth
    const step = this.#isAuthenticated ? undefined : auth?.receive(body)
    if (step === undefined) {
      this.#violation('an authentication message out of order')
    } else if (step.kind === 'wait') {
      step.outcome
        .then((outcome) => {
          // Not on a stream that was opened meanwhile.
          if (this.#auth === auth) this.#onAuthOutcome(outcome)
        })
        .catch((thrown: Error) => this.#fail(this.#unreachable(thrown.message), false))
    } else {
      this.#onAuthOutcome(step)
    }
  }

  #onAuthOutcome(outcome: ServerAuthOutcome): void {
    if (this.#isOver) return
    if (outcome.kind === 'reply') this.#stream?.write(outcome.bytes)
    else if (outcome.kind === 'ok') this.#isAuthenticated = true
    else if (outcome.kind === 'error') {
      const { sqlstate, message, detail, hint } = outcome.failure
      const refusal: Refusal = {
        severity: 'FATAL',
        code: sqlstate,
        message,
        ...(detail === '' ? {} : { detail }),
        ...(hint === '' ? {} : { hint }),
        reason: 'server_login',
      }
      const isFinal = FINAL_CODES.has(sqlstate)
      // What we would not do in the clear may be right with TLS; never the other way round.
      const mayGoOn = this.#ways[0] === 'clear' && NOT_LET_IN.test(sqlstate)
      if (!mayGoOn || !this.#tryNextWay({ refusal, isFinal })) this.#fail(refusal, isFinal)
    }
  }

  #onError(src: Buffer, start: number, stop: number): void {
    const { code, message, detail, hint } = parseErrorResponse(src, start, stop)
    const words = message === '' ? 'Postgres refused the login without a reason' : message
    const isRefused = NOT_LET_IN.test(code) && !this.#isAuthenticated
    const advice = hint === '' && code === '28P01' && this.#credential?.kind === 'keys' ? KEYS_HINT : hint
    const refusal: Refusal = {
      severity: 'FATAL',
      code: code === '' ? '08006' : code,
      message: words,
      ...(detail === '' ? {} : { detail }),
      ...(advice === '' ? {} : { hint: advice }),
      reason: 'server_login',
    }
    const isFinal = FINAL_CODES.has(code)
    if (!isRefused || !this.#tryNextWay({ refusal, isFinal })) this.#fail(refusal, isFinal)
  }

  #onParameter(src: Buffer, start: number, stop: number): void {
    const nameStop = src.indexOf(0, start + 5)
    const valueStop = nameStop < 0 ? -1 : src.indexOf(0, nameStop + 1)
    if (!this.#isAuthenticated || valueStop < 0 || valueStop >= stop) {
      this.#violation('a broken ParameterStatus')
      return
    }
    this.#reported.set(
      src.toString('latin1', start + 5, nameStop),
      src.toString('latin1', nameStop + 1, valueStop),
    )
  }

  #onReady(): void {
    const stream = this.#stream
    if (stream === null || !this.#isAuthenticated) {
      this.#violation('ReadyForQuery before the login was over')
      return
    }
    this.#isOver = true
    this.#events.onLoggedIn({ stream, parameters: this.#reported, pid: this.#pid, key: this.#key })
  }

  #violation(what: string): void {
    this.#fail(this.#unreachable(`it does not speak Postgres' protocol (${what})`), false)
  }

  #unreachable(why: string): Refusal {
    const { where } = this.#parts.route
    return {
      severity: 'FATAL',
      code: '08001',
      message: `could not connect to Postgres at ${where}: ${why}`,
      reason: 'server_unreachable',
    }
  }

  #fail(refusal: Refusal, isFinal: boolean): void {
    if (this.#isOver) return
    this.#isOver = true
    this.#opening.cancel('the login failed')
    this.#stream?.destroy('the login failed')
    const last = { refusal, isFinal }
    const told = this.#first === null ? last : bothWays(this.#first, last, this.#ways[0])
    const isHopeless = told.isFinal && !(told.refusal.code === '28P01' && this.#hasNewerCredential())
    this.#events.onLoginFailed(told.refusal, isHopeless)
  }

  /** What we logged in with is wrong. Is another one there by now? */
  #hasNewerCredential(): boolean {
    return this.#credential !== null && this.#parts.route.onCredentialRefused(this.#credential)
  }
}

/** The ways in which a login may be tried, in the order of libpq. */
function waysIn({ tlsMode, channelBinding }: Route): Security[] {
  if (tlsMode === 'disable') return ['clear']
  // In the clear there is nothing to bind to.
  if (channelBinding === 'require') return ['tls']
  if (tlsMode === 'allow') return ['clear', 'tls']
  return tlsMode === 'prefer' ? ['offered', 'clear'] : ['tls']
}

/**
 * Of two refusals the one that helps more: a wrong password says more than "no pg_hba.conf entry" for the
 * other way, and both say more than that there was no connection.
 */
function bothWays(first: Attempt, last: Attempt, lastWay: Security): Attempt {
  const isLastClear = lastWay === 'clear'
  const [withTls, without] = isLastClear ? [first, last] : [last, first]
  const isWithoutTold = worth(without) > worth(withTls)
  const [told, other] = isWithoutTold ? [without, withTls] : [withTls, without]
  const detail = `${isWithoutTold ? 'With' : 'Without'} TLS: ${other.refusal.message}`
  return { ...told, refusal: { ...told.refusal, detail } }
}

function worth({ refusal }: Attempt): number {
  if (refusal.code === '08001') return 0
  return refusal.code === '28000' ? 1 : 2
}
