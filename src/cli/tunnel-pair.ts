// One connection through the tunnel: the stream of a program on this machine and a WebSocket of its own. It
// passes bytes on as they are. Only where the far end has not said anything does it speak in its place, to
// say why there is nobody. Must never hold more of either side than the streams do, nor leave one open alone.
import { ENDED } from '../net/tcp-stream.ts'
import { dialWebSocket, type WebSocketStream } from '../net/ws-dial.ts'
import type { ByteStream, StreamHandler } from '../wire/byte-stream.ts'
import { errorResponse } from '../wire/error-response.ts'
import { MAX_STARTUP_BODY, peekStartup } from '../wire/startup.ts'

/** How long the endpoint may take to open a WebSocket. */
const DIAL_MS = 15_000
/** A program that has closed its half gets what comes until there is silence for so long: as from pgmux. */
const HALF_CLOSED_MS = 1000
/** How long a program may take to say what it wants, only to be told that nobody is there. */
const REFUSED_MS = 5000

const NO = Buffer.from('N')
const NOTHING = Buffer.alloc(0)

/** What a program is told, and under which SQLSTATE. */
export interface Reason {
  readonly code: string
  readonly message: string
}

/** What the tunnel hears of one of its connections. */
export interface PairEvents {
  /** It has failed, for this reason: one sentence. */
  onFailed(sentence: string): void
  /** Both sides are gone. Called once. */
  onGone(): void
}

/** A program and the WebSocket that was opened for it. */
export class Pair {
  readonly #near: ByteStream
  readonly #events: PairEvents
  #far: WebSocketStream | null = null
  /** What the program has sent to a far end that has not answered yet; null: it has. */
  #said: Buffer | null = NOTHING
  #isFarOver = false
  #isNearOver = false
  #timer: NodeJS.Timeout | undefined

  /** Takes over `near` and opens a WebSocket to `url`. */
  constructor(near: ByteStream, url: URL, events: PairEvents) {
    this.#near = near
    this.#events = events
    near.handler = this.#nearHandler()
    near.pause()
    dialWebSocket(url, DIAL_MS, (error, far) => {
      if (far !== null) this.#join(far)
      else this.#farOver({ code: '08001', message: error!.message })
    })
  }

  /** Closes both sides in good order: what is on its way still arrives. */
  close(): void {
    this.#near.end()
    this.#far?.end()
  }

  #join(far: WebSocketStream): void {
    this.#far = far
    far.handler = {
      onData: (chunk) => {
        this.#said = null
        this.#timer?.refresh()
        if (!this.#near.write(chunk)) far.pause()
      },
      onDrain: () => this.#near.resume(),
      onEnd: () => far.end(),
      onClose: (reason) =>
        this.#farOver(
          reason === ENDED ? null : { code: '08006', message: `the tunnel lost pgmux: ${reason}` },
        ),
    }
    if (this.#isNearOver) far.end()
    else this.#near.resume()
  }

  #nearHandler(): StreamHandler {
    return {
      onData: (chunk) => {
        const said = this.#said
        if (said !== null) this.#said = Buffer.concat([said, chunk]).subarray(0, MAX_STARTUP_BODY)
        if (this.#far?.write(chunk) === false) this.#near.pause()
      },
      onDrain: () => this.#far?.resume(),
      // A WebSocket has no halves: its end is told when the answers are there.
      onEnd: () => {
        this.#timer = setTimeout(() => this.#far?.end(), HALF_CLOSED_MS)
      },
      onClose: () => {
        this.#far?.destroy('the program has closed its connection')
        this.#nearOver()
      },
    }
  }

  /** The far end is gone, or never was there. `reason`: null for good order. */
  #farOver(reason: Reason | null): void {
    this.#isFarOver = true
    clearTimeout(this.#timer)
    if (reason !== null && !this.#isNearOver) this.#events.onFailed(reason.message)
    if (this.#isNearOver) this.#check()
    else if (reason === null || this.#said === null) this.#near.end()
    else refuse(this.#near, this.#said, reason, () => this.#nearOver())
  }

  #nearOver(): void {
    this.#isNearOver = true
    this.#check()
  }

  #check(): void {
    if (this.#isNearOver && this.#isFarOver) this.#events.onGone()
  }
}

/**
 * Tells a program that nobody is there, in the way in which Postgres would: to its startup packet. A wish for
 * TLS is declined first, since libpq shows no error that comes in place of that answer.
 * @param said what was read of it already
 */
export function refuse(near: ByteStream, said: Buffer, reason: Reason, onClose: () => void): void {
  let bytes = said
  const timer = setTimeout(() => near.destroy('it did not say what it wants'), REFUSED_MS)
  const read = (): void => {
    for (;;) {
      const packet = peekStartup(bytes, 0, bytes.length)
      if (packet.kind === 'need-more') return
      if (packet.kind !== 'ssl' && packet.kind !== 'gss') {
        // Whoever wants to cancel expects no answer, and TLS could not read one.
        const isTold = packet.kind === 'startup' || packet.kind === 'invalid'
        near.end(isTold ? errorResponse({ severity: 'FATAL', ...reason }) : undefined)
        return
      }
      bytes = bytes.subarray(packet.length)
      near.write(NO)
    }
  }
  near.handler = {
    onData: (chunk) => {
      bytes = Buffer.concat([bytes, chunk])
      read()
    },
    onDrain: () => {},
    onEnd: () => near.end(),
    onClose: () => {
      clearTimeout(timer)
      onClose()
    },
  }
  read()
  near.resume()
}
