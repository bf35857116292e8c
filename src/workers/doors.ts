// Where clients come in when several processes share the work: the first one opens the ports, and they stay
// open whatever becomes of a worker. It owns the ports and the connections that nobody has taken yet. It
// reads nothing.
import type { Config } from '../config/types.ts'
import type { Addresses } from '../listeners.ts'
import { KEEPALIVE_MS } from '../net/dial.ts'
import { type Door, doorKey, type RawHandle } from '../net/handed.ts'
import { type Listener, type ListenOptions, listenForOthers } from '../net/listen.ts'

/** Connections that are kept while no worker is there; more are closed. */
const KEPT_MAX = 4096

export class Doors {
  readonly #give: (key: string, handle: RawHandle) => boolean
  readonly #listeners: Listener[] = []
  readonly #all: Door[] = []
  #kept: { readonly key: string; readonly handle: RawHandle }[] = []
  #addresses: Omit<Addresses, 'admin'> | null = null

  /** @param give to a worker; false: none is there */
  constructor(give: (key: string, handle: RawHandle) => boolean) {
    this.#give = give
  }

  /** As workers find them. */
  get all(): readonly Door[] {
    return this.#all
  }

  get isOpen(): boolean {
    return this.#listeners.length > 0
  }

  /** Where they are, without the admin port. */
  get addresses(): Omit<Addresses, 'admin'> {
    if (this.#addresses === null) throw new Error('the doors have not been opened')
    return this.#addresses
  }

  /** @throws one clear sentence when one cannot be opened; then none is open */
  async open({ listen: at, serverless }: Config): Promise<void> {
    const { backlog, keepaliveMs } = at
    try {
      let { port } = at
      // With port 0 all have the one that the first was given.
      for (const host of at.hosts) port = await this.#open({ host, port, backlog, keepaliveMs })
      const unixSocket = at.unixSocketDir === '' ? '' : `${at.unixSocketDir}/.s.PGSQL.${port}`
      const { unixSocketMode: mode, unixSocketGroup: group } = at
      if (unixSocket !== '') await this.#open({ path: unixSocket, mode, group, backlog })
      const { host } = serverless
      const webPort =
        host === '' ? 0 : await this.#open({ host, port: serverless.port, keepaliveMs: KEEPALIVE_MS })
      const isTls = serverless.tls.certFile !== ''
      this.#addresses = {
        postgres: { host: at.hosts[0], port },
        unixSocket,
        serverless: host === '' ? null : { host, port: webPort, isTls },
      }
    } catch (error) {
      this.close()
      throw error
    }
  }

  async #open(options: ListenOptions): Promise<number> {
    let key = doorKey(options)
    const listener = await listenForOthers(options, (handle) => this.#onHandle(key, handle))
    const { address, port } = listener
    if (!('path' in options)) key = doorKey({ host: options.host, port })
    this.#listeners.push(listener)
    this.#all.push({ key, address, port })
    return port
  }

  #onHandle(key: string, handle: RawHandle): void {
    if (this.#give(key, handle)) return
    if (this.#kept.length >= KEPT_MAX) handle.close()
    else this.#kept.push({ key, handle })
  }

  /** Somebody is there again, or one was not taken. */
  retry(): void {
    const kept = this.#kept
    this.#kept = []
    for (const { key, handle } of kept) this.#onHandle(key, handle)
  }

  /** One that its worker did not live to take. */
  again(key: string, handle: RawHandle): void {
    if (this.isOpen) this.#onHandle(key, handle)
    else handle.close()
  }

  /** Nobody comes in any more. */
  close(): void {
    for (const listener of this.#listeners.splice(0)) void listener.close()
    for (const { handle } of this.#kept.splice(0)) handle.close()
  }
}
