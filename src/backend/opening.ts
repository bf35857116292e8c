// A fresh stream to Postgres, in the clear or with TLS as the route wants it: the connection, the question
// for TLS, the handshake. For logins and for cancel requests alike, so that both are as well protected. It
// owns the stream until it reports once; it believes nothing that comes in the clear but one byte.
import type { SecurableStream, StreamHandler } from '../wire/byte-stream.ts'
import { buildSslRequest } from '../wire/startup.ts'
import type { Route } from './route.ts'

const SSL_YES = 0x53
const SSL_NO = 0x4e
const ERROR = 0x45

/** `offered`: TLS where Postgres has it, else in the clear. */
export type Security = 'clear' | 'offered' | 'tls'

/** Why there is no stream. */
export interface OpeningFailure {
  /** What went wrong, without the name of the host. */
  readonly why: string
  /** It will go wrong again until somebody changes something. */
  readonly isFinal: boolean
  /** Postgres does not do TLS, or not such that we would take it. */
  readonly isTls: boolean
}

/** Exactly one of the two is not null. Called once, unless the opening was cancelled. */
export type OnOpened = (failure: OpeningFailure | null, stream: SecurableStream | null) => void

/** What an opening needs of a route. */
export type OpeningRoute = Pick<Route, 'dial' | 'tls' | 'isDirectTls'>

export class Opening implements StreamHandler {
  readonly #route: OpeningRoute
  readonly #security: Security
  readonly #done: OnOpened
  readonly #dialing: { cancel(): void }
  #stream: SecurableStream | null = null
  #isOver = false

  constructor(route: OpeningRoute, security: Security, timeoutMs: number, done: OnOpened) {
    this.#route = route
    this.#security = security
    this.#done = done
    this.#dialing = route.dial(timeoutMs, (error, stream) => this.#onDialed(error, stream))
  }

  /** Not wanted any more: nothing is reported. */
  cancel(reason: string): void {
    if (this.#isOver) return
    this.#isOver = true
    this.#dialing.cancel()
    this.#stream?.destroy(reason)
  }

  onData(chunk: Buffer): void {
    if (this.#isOver) return
    if (chunk[0] === ERROR) {
      // CVE-2024-10977: nobody has proved yet that these are Postgres' words, so they are not repeated.
      this.#fail('it answers SSLRequest with an error: it is starting, overloaded or no Postgres', {})
    } else if (chunk.length > 1) {
      // CVE-2021-23222: whoever sits in between could put words in the server's mouth.
      this.#fail('Postgres sent bytes in the clear behind its answer to SSLRequest', { isFinal: true })
    } else if (chunk[0] === SSL_YES) this.#secure(null)
    else if (chunk[0] === SSL_NO && this.#security === 'offered') this.#succeed()
    else if (chunk[0] === SSL_NO) {
      const why = 'Postgres does not support TLS, which upstream.tls.mode requires'
      this.#fail(why, { isFinal: true, isTls: true })
    } else this.#fail('it answers SSLRequest with something that is no answer', {})
  }

  onDrain(): void {}

  onEnd(): void {
    this.#fail('Postgres closed the connection before the login', {})
  }

  onClose(reason: string): void {
    this.#fail(reason, {})
  }

  #onDialed(error: Error | null, stream: SecurableStream | null): void {
    if (stream === null) {
      this.#fail(error?.message ?? 'no connection', {})
      return
    }
    if (this.#isOver) {
      stream.destroy('not wanted any more')
      return
    }
    this.#stream = stream
    stream.handler = this
    if (this.#security === 'clear') this.#succeed()
    else if (this.#route.isDirectTls) this.#secure(Buffer.alloc(0))
    else stream.write(buildSslRequest())
  }

  /** @param early not null: without a question before it. */
  #secure(early: Buffer | null): void {
    const settings = this.#route.tls
    if (settings === null) {
      this.#fail('there are no TLS settings for it', { isTls: true })
      return
    }
    this.#stream?.secure(settings, early, (error) => {
      if (error === null) this.#succeed()
      else {
        const direct = early === null ? '' : ' (upstream.tls.negotiation is direct, which needs Postgres 17)'
        this.#fail(`${error.message}${direct}`, { isFinal: error.isFinal === true, isTls: true })
      }
    })
  }

  #succeed(): void {
    const stream = this.#stream
    if (this.#isOver || stream === null) return
    this.#isOver = true
    this.#done(null, stream)
  }

  #fail(why: string, { isFinal = false, isTls = false }: { isFinal?: boolean; isTls?: boolean }): void {
    if (this.#isOver) return
    this.#isOver = true
    this.#stream?.destroy('the login failed')
    this.#done({ why, isFinal, isTls }, null)
  }
}
