// Connections that another process has accepted for this one. It owns the doors behind which servers of this
// process stand: a server binds as usual and is given what comes in there. Must never open a port, and
// without doors it does nothing.
import type { Server } from 'node:net'

/** A place where the other process accepts connections. */
export interface Door {
  /** As a server of this process asks for it. */
  readonly key: string
  readonly address: string
  /** 0 for a Unix socket. */
  readonly port: number
}

/** A connection as libuv has made it. */
export interface RawHandle {
  close(): void
}

/** What Node's server takes for the handle that it listens with. */
interface Faux {
  onconnection: ((this: Faux, error: number, handle: RawHandle) => void) | null
  listen(): number
  close(done?: () => void): void
  ref(): void
  unref(): void
  getsockname?(out: object): number
}

/** Node's server, with the parts that are not in its types; cluster uses them in the same way. */
interface Opened {
  _handle: Faux | null
  _pipeName?: string
  _listen2(address: string, port: number, family: number, backlog: number): void
}

/** The name under which a door is known to both processes. */
export function doorKey(at: { host: string; port: number } | { path: string }): string {
  return 'path' in at ? at.path : `${at.host}:${at.port}`
}

export class HandedDoors {
  readonly #doors: ReadonlyMap<string, Door>
  readonly #servers = new Map<string, Faux>()

  constructor(doors: readonly Door[]) {
    this.#doors = new Map(doors.map((door) => [door.key, door]))
  }

  /** The server listens behind this door from now on. @throws where there is no such door */
  bind(server: Server, key: string, backlog: number): void {
    const door = this.#doors.get(key)
    if (door === undefined) throw new Error(`cannot listen on ${key}: nobody hands over what comes in there`)
    const { address, port } = door
    const family = address.includes(':') ? 'IPv6' : 'IPv4'
    const opened = server as unknown as Opened
    const faux: Faux = {
      onconnection: null,
      listen: () => 0,
      close: (done) => {
        this.#servers.delete(key)
        done?.call(faux)
      },
      ref() {},
      unref() {},
    }
    if (port === 0) opened._pipeName = address
    else {
      faux.getsockname = (out) => {
        Object.assign(out, { address, port, family })
        return 0
      }
    }
    opened._handle = faux
    opened._listen2(address, port, port === 0 ? -1 : family === 'IPv6' ? 6 : 4, backlog)
    this.#servers.set(key, faux)
  }

  /** A connection has come in. @returns false: nobody listens there any more */
  take(key: string, handle: RawHandle): boolean {
    const faux = this.#servers.get(key)
    if (faux?.onconnection == null) {
      handle.close()
      return false
    }
    faux.onconnection(0, handle)
    return true
  }
}

let doors: HandedDoors | null = null

/** From now on servers of this process stand behind these doors. */
export function listenBehind(handed: HandedDoors): void {
  doors = handed
}

/** Null: this process opens its ports itself. */
export function handedDoors(): HandedDoors | null {
  return doors
}
