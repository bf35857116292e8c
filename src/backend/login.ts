// The login to Postgres on a fresh stream: TLS, startup, authentication, parameters. It owns the stream until
// it reports; it believes nothing a server says before the server has proved itself, and bounds what it says.
import { ServerAuth, type ServerAuthOutcome } from '../auth/server-auth.ts'
import type { Refusal } from '../pool/types.ts'
import type { SecurableStream, StreamHandler } from '../wire/byte-stream.ts'
import { parseErrorResponse } from '../wire/error-response.ts'
import { Found, Framer } from '../wire/framer.ts'
import { FromServer, SERVER_RULES } from '../wire/protocol.ts'
import { buildSslRequest, buildStartup, fromText, LATEST_MINOR } from '../wire/startup.ts'
import type { ServerParts } from './route.ts'

const MESSAGE_MAX = 64 * 1024
/** A server that never comes to the end of its login messages is no Postgres. */
const MESSAGES_MAX = 1000
/** Where the key is in BackendKeyData, and its longest. */
const KEY_AT = 9
const KEY_MAX = 256
const SSL_YES = 0x53
const SSL_NO = 0x4e

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

/** What a login needs of the parts of a server. */
export type LoginParts = Pick<ServerParts, 'route' | 'random' | 'work'>

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

export class Login implements StreamHandler {
  readonly #parts: LoginParts
  readonly #parameters: ReadonlyMap<string, string>
  readonly #events: LoginEvents
  readonly #framer = new Framer(SERVER_RULES, MESSAGE_MAX, MESSAGE_MAX)
  readonly #reported = new Map<string, string>()
  readonly #dialing: { cancel(): void }
  #stream: SecurableStream | null = null
  #auth: ServerAuth | null = null
  #awaitsTls = false
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
    const { route } = parts
    this.#dialing = route.dial(route.connectTimeoutMs, (error, stream) => this.#onDialed(error, stream))
  }

  /** Gives up: nothing is reported any more. */
  cancel(reason: string): void {
    this.#isOver = true
    this.#dialing.cancel()
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
    if (this.#awaitsTls) {
      this.#onTlsAnswer(chunk)
      return
    }
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
    this.#fail(this.#unreachable('Postgres closed the connection during the login'), false)
  }

  onClose(reason: string): void {
    this.#fail(this.#unreachable(reason), false)
  }

  #onDialed(error: (Error & { code: string }) | null, stream: SecurableStream | null): void {
    if (stream === null) {
      this.#fail(this.#unreachable(error?.message ?? 'no connection'), false)
      return
    }
    if (this.#isOver) {
      stream.destroy('not wanted any more')
      return
    }
    this.#stream = stream
    stream.handler = this
    if (this.#parts.route.tls === null) {
      this.#startUp()
      return
    }
    this.#awaitsTls = true
    stream.write(buildSslRequest())
  }

  #onTlsAnswer(chunk: Buffer): void {
    const { route } = this.#parts
    this.#awaitsTls = false
    if (chunk.length > 1) {
      // CVE-2021-23222: whoever sits in between could put words in the server's mouth.
      this.#fail(this.#unreachable('Postgres sent bytes in the clear behind its answer to SSLRequest'), true)
    } else if (chunk[0] === SSL_YES && route.tls !== null) {
      this.#stream?.secure(route.tls, null, (error) => {
        if (error === null) this.#startUp()
        else this.#fail(this.#unreachable(`TLS failed: ${error.message}`), false)
      })
    } else if (chunk[0] === SSL_NO && (route.tlsMode === 'prefer' || route.tlsMode === 'allow')) {
      this.#startUp()
    } else {
      this.#fail(this.#unreachable('Postgres does not support TLS, which upstream.tls.mode requires'), true)
    }
  }

  #startUp(): void {
    const stream = this.#stream
    if (this.#isOver || stream === null) return
    const { route, random, work } = this.#parts
    this.#auth = new ServerAuth(
      {
        user: route.user,
        credential: route.credential(),
        where: route.where,
        confidential: stream.peer.encrypted || stream.peer.loopback,
      },
      { random, work },
    )
    const parameters = new Map([['user', fromText(route.user)]])
    parameters.set('database', fromText(route.dbname))
    for (const [name, value] of this.#parameters) parameters.set(name, value)
    stream.write(buildStartup({ minor: LATEST_MINOR, parameters }))
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
    const step = this.#auth?.receive(body)
    if (step === undefined || this.#isAuthenticated) {
      this.#violation('an authentication message out of order')
    } else if (step.kind === 'wait') {
      step.outcome
        .then((outcome) => this.#onAuthOutcome(outcome))
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
      const { sqlstate, message, detail } = outcome.failure
      const refusal = { severity: 'FATAL' as const, code: sqlstate, message, detail, reason: 'server_login' }
      this.#fail(refusal, FINAL_CODES.has(sqlstate))
    }
  }

  #onError(src: Buffer, start: number, stop: number): void {
    const { code, message, detail, hint } = parseErrorResponse(src, start, stop)
    const words = message === '' ? 'Postgres refused the login without a reason' : message
    const refusal: Refusal = {
      severity: 'FATAL',
      code: code === '' ? '08006' : code,
      message: words,
      ...(detail === '' ? {} : { detail }),
      ...(hint === '' ? {} : { hint }),
      reason: 'server_login',
    }
    this.#fail(refusal, FINAL_CODES.has(code))
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
    this.#stream?.destroy('the login failed')
    this.#events.onLoginFailed(refusal, isFinal)
  }
}
