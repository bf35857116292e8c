// One CancelRequest to Postgres: on a connection of its own, with the same TLS as the server connection it is
// aimed at. It owns that connection and reports once, when Postgres has closed it (so that it cannot hit
// anything later) or when it never got there.
import type { SecurableStream, StreamHandler } from '../wire/byte-stream.ts'
import { buildCancelRequest, buildSslRequest } from '../wire/startup.ts'
import type { Route } from './route.ts'

const SSL_YES = 0x53

export class CancelConnection implements StreamHandler {
  readonly #route: Route
  readonly #request: Buffer
  readonly #onOver: (isCertain: boolean) => void
  readonly #needsTls: boolean
  readonly #dialing: { cancel(): void }
  #stream: SecurableStream | null = null
  #isSent = false
  #isOver = false

  /**
   * @param isEncrypted whether the server connection is: then this one must be, too.
   * @param onOver called once; `isCertain` false: the request may still reach Postgres later.
   */
  constructor(
    route: Route,
    target: { pid: number; key: Buffer; isEncrypted: boolean },
    onOver: (isCertain: boolean) => void,
  ) {
    this.#route = route
    this.#request = buildCancelRequest(target.pid, target.key)
    this.#onOver = onOver
    this.#needsTls = target.isEncrypted
    this.#dialing = route.dial(route.cancelTimeoutMs, (_error, stream) => this.#onDialed(stream))
  }

  /** Takes too long, or is not wanted any more. */
  giveUp(): void {
    this.#dialing.cancel()
    this.#stream?.destroy('cancel timeout')
    this.#over(!this.#isSent)
  }

  onData(chunk: Buffer): void {
    if (this.#isSent) return
    const { tls } = this.#route
    if (chunk.length !== 1 || chunk[0] !== SSL_YES || tls === null) {
      this.#stream?.destroy('the server refused TLS for a cancel request')
      return
    }
    this.#stream?.secure(tls, null, (error) => {
      if (error === null) this.#send()
    })
  }

  onDrain(): void {}

  /** Postgres has done what it does about a cancel request, and closes. */
  onEnd(): void {
    this.#stream?.destroy('cancelled')
    this.#over(true)
  }

  /** Broken, not ended: what was sent may still be on its way. */
  onClose(): void {
    this.#over(!this.#isSent)
  }

  #onDialed(stream: SecurableStream | null): void {
    if (stream === null || this.#isOver) {
      stream?.destroy('not wanted any more')
      this.#over(true)
      return
    }
    this.#stream = stream
    stream.handler = this
    if (this.#needsTls) stream.write(buildSslRequest())
    else this.#send()
  }

  #send(): void {
    this.#isSent = true
    this.#stream?.write(this.#request)
  }

  #over(isCertain: boolean): void {
    if (this.#isOver) return
    this.#isOver = true
    this.#onOver(isCertain)
  }
}
