// What requests and answers of the port for WebSocket and HTTP look like to whoever answers them, whether
// Node has read them or `post-connection.ts`. Types only.
import type { IncomingHttpHeaders } from 'node:http'
import type { PeerName } from './peer.ts'

export interface WebRequest {
  readonly method?: string | undefined
  readonly url?: string | undefined
  /** Names in lower case. */
  readonly headers: IncomingHttpHeaders
  /** The connection: the same object for all of its requests. */
  readonly socket: PeerName & object
  /** All of it, where it is here already: nothing comes by `on` then. Absent: it comes in pieces. */
  readonly body?: Buffer
  on(event: 'data', listener: (chunk: Buffer) => void): unknown
  on(event: 'end', listener: () => void): unknown
}

export interface WebResponse {
  readonly headersSent: boolean
  /** Bytes that were not taken yet. */
  readonly writableLength: number
  writeHead(status: number, headers: Readonly<Record<string, string | number>>): unknown
  /** @returns false: stop until 'drain' */
  write(chunk: Buffer): boolean
  end(chunk?: string | Buffer): unknown
  /** The end of a short answer, of which the bytes are the caller's again afterwards. Absent: use `end`. */
  endCopy?(bytes: Buffer): void
  /** 'close': the answer is out, or cannot go out any more. */
  on(event: 'close' | 'drain', listener: () => void): unknown
  /** Ends the connection. */
  destroy(): unknown
}
