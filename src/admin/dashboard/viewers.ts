// Those who look: streams of server-sent events. It owns the streams and their number; what is said others
// know. One that does not take what it is sent is dropped, so that it holds no memory.
import type { HttpResponse } from '../../net/http.ts'

/** At once. */
export const VIEWERS_MAX = 50
/** Bytes that may wait for one. */
const UNREAD_MAX = 1024 * 1024
/** After its farewell a stream that is not taken is cut off, ms. */
const FAREWELL_MS = 1000
const HEAD = `retry: 2000\n\n`

/** One that looks. */
interface Viewer {
  readonly response: HttpResponse
  /** False: its login is over. */
  mayStay(): boolean
}

export class Viewers {
  readonly #all = new Map<HttpResponse, Viewer>()

  get size(): number {
    return this.#all.size
  }

  get isFull(): boolean {
    return this.#all.size >= VIEWERS_MAX
  }

  /** The head of its answer must have been written. It goes by itself when its connection does. */
  add(response: HttpResponse, mayStay: () => boolean): void {
    this.#all.set(response, { response, mayStay })
    const leave = (): void => void this.#all.delete(response)
    response.on('close', leave)
    response.on('error', leave)
    response.write(HEAD)
  }

  /** @param json on one line, as JSON.stringify makes it */
  tell(event: string, json: string): void {
    if (this.#all.size === 0) return
    const bytes = Buffer.from(eventText(event, json))
    for (const response of this.#all.keys()) this.#write(response, bytes)
  }

  tellOne(response: HttpResponse, event: string, json: string): void {
    if (this.#all.has(response)) this.#write(response, Buffer.from(eventText(event, json)))
  }

  #write(response: HttpResponse, bytes: Buffer): void {
    if (response.writableLength + bytes.length <= UNREAD_MAX) response.write(bytes)
    else this.#drop(response)
  }

  #drop(response: HttpResponse): void {
    this.#all.delete(response)
    response.destroy()
  }

  /** Those whose login is over go. */
  sift(): void {
    for (const { response, mayStay } of [...this.#all.values()])
      if (!mayStay()) this.#dismiss(response, 'the login is over')
  }

  close(reason: string): void {
    for (const response of [...this.#all.keys()]) this.#dismiss(response, reason)
  }

  #dismiss(response: HttpResponse, reason: string): void {
    this.#all.delete(response)
    response.end(eventText('bye', JSON.stringify({ reason })))
    setTimeout(() => response.destroy(), FAREWELL_MS).unref()
  }
}

function eventText(event: string, json: string): string {
  return `event: ${event}\ndata: ${json}\n\n`
}
