// One CancelRequest to Postgres: on a connection of its own, with the same TLS as the server connection it is
// aimed at. It owns that connection and reports once, when Postgres has closed it (so that it cannot hit
// anything later) or when it never got there.
import type { SecurableStream, StreamHandler } from '../wire/byte-stream.ts'
import { buildCancelRequest } from '../wire/startup.ts'
import { Opening } from './opening.ts'
import type { Route } from './route.ts'

export class CancelConnection implements StreamHandler {
  readonly #request: Buffer
  readonly #onOver: (isCertain: boolean) => void
  readonly #opening: Opening
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
    this.#request = buildCancelRequest(target.pid, target.key)
    this.#onOver = onOver
    const security = target.isEncrypted ? 'tls' : 'clear'
    this.#opening = new Opening(route, security, route.cancelTimeoutMs, (_failure, stream) => {
      if (stream === null) this.#over(true)
      else this.#send(stream)
    })
  }

  /** Takes too long, or is not wanted any more. */
  giveUp(): void {
    this.#opening.cancel('cancel timeout')
    this.#stream?.destroy('cancel timeout')
    this.#over(!this.#isSent)
  }

  onData(): void {}

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

  #send(stream: SecurableStream): void {
    this.#stream = stream
    stream.handler = this
    this.#isSent = true
    stream.write(this.#request)
  }

  #over(isCertain: boolean): void {
    if (this.#isOver) return
    this.#isOver = true
    this.#onOver(isCertain)
  }
}
