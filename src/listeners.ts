// Where clients come in: the TCP addresses and the Unix socket. It owns the listeners, not what comes in
// through them.
import type { ListenConfig } from './config/types.ts'
import { type Listener, listen } from './net/listen.ts'
import type { SecurableStream } from './wire/byte-stream.ts'

/** Where a running pooler listens. */
export interface Addresses {
  readonly postgres: { host: string; port: number }
  /** Path of the Unix socket; '' for none. */
  readonly unixSocket: string
  readonly admin: { host: string; port: number } | null
  /** WebSocket and HTTP; `isTls`: wss:// and https://. */
  readonly serverless: { host: string; port: number; isTls: boolean } | null
}

export class Listeners {
  readonly #open: Listener[] = []
  port = 0
  /** Path of the Unix socket; '' for none. */
  unixSocket = ''

  /** Somebody can come in. */
  get isOpen(): boolean {
    return this.#open.length > 0
  }

  /** @throws one clear sentence when one cannot be opened; then none is open. */
  async open(at: ListenConfig, accept: (stream: SecurableStream) => void): Promise<void> {
    const { backlog } = at
    try {
      this.port = at.port
      for (const host of at.hosts) {
        // With port 0 all have the one that the first was given.
        const listener = await listen({ host, port: this.port, backlog, keepaliveMs: at.keepaliveMs }, accept)
        this.#open.push(listener)
        this.port = listener.port
      }
      if (at.unixSocketDir === '') return
      this.unixSocket = `${at.unixSocketDir}/.s.PGSQL.${this.port}`
      const { unixSocketMode: mode, unixSocketGroup: group } = at
      this.#open.push(await listen({ path: this.unixSocket, mode, group, backlog }, accept))
    } catch (error) {
      await this.close()
      throw error
    }
  }

  /** New connections are refused from now on. */
  async close(): Promise<void> {
    const listeners = this.#open.splice(0)
    await Promise.all(listeners.map((listener) => listener.close()))
  }
}
