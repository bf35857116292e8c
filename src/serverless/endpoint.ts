// The endpoint for WebSocket and HTTP, put together: its port, its rules, who serves what. WebSockets become
// ordinary clients of the house, `/sql` is answered by http/. It owns the port; it decides nothing about a
// single connection but where it goes.
import type { ClientAuthContext } from '../auth/client-auth.ts'
import type { Config, ServerlessConfig } from '../config/types.ts'
import { addressKey } from '../config/resolve-serverless.ts'
import type { House } from '../frontend/types.ts'
import type { Entrance } from '../frontend/web-entrance.ts'
import { describePeer } from '../net/peer.ts'
import {
  openWebServer,
  type UpgradeHead,
  type WebRequest,
  type WebResponse,
  type WebServer,
} from '../net/web-server.ts'
import type { Log } from '../observe/log.ts'
import { CloseCode } from '../net/ws-frames.ts'
import type { WsStream } from '../net/ws-stream.ts'
import type { SecurableStream } from '../wire/byte-stream.ts'
import { Doors, isForwarded, type KnownCaller } from './doors.ts'
import type { RequestHouse } from './http/request.ts'
import { SqlDoor } from './http/sql-door.ts'
import { HttpLogins } from './login.ts'
import { Tokens } from './tokens.ts'
import type { Caller } from './types.ts'

/** Connections besides clients that are in: logins, keep-alive without a request. */
const SPARE_CONNECTIONS = 1024

/** What the endpoint is given. */
export interface EndpointParts {
  /** What counts at present. */
  config(): Config
  /** Takes a WebSocket in as a client. */
  accept(stream: SecurableStream, entrance: Entrance): void
  readonly house: House & RequestHouse
  readonly log: Log
  /** Learns here which tokens, and how many wrong passwords, are taken. */
  readonly auth: ClientAuthContext
  readonly time: { readonly now: number }
  warn(error: string, message: string): void
}

export class Endpoint {
  readonly #parts: EndpointParts
  #server: WebServer | null = null
  #doors: Doors
  readonly #tokens: Tokens
  #isDraining = false
  readonly #sql: SqlDoor
  /** Of the last request of each connection. */
  readonly #callers = new WeakMap<object, KnownCaller>()

  constructor(parts: EndpointParts) {
    this.#parts = parts
    this.#doors = new Doors(this.#config)
    const { house, log } = parts
    this.#sql = new SqlDoor({ house, log, logins: new HttpLogins(house), config: () => this.#config })
    const { auth, time, warn } = parts
    const { jwt } = this.#config
    this.#tokens = new Tokens(jwt, { failures: auth.failures, time, wallClock: Date.now, warn })
    this.#tokens.use(jwt, this.#tokens.prepare(jwt))
    auth.tokens = this.#tokens
    auth.failures.configure(this.#config)
  }

  get #config(): ServerlessConfig {
    return this.#parts.config().serverless
  }

  /** Where it listens; null: it does not. */
  get address(): { host: string; port: number; isTls: boolean } | null {
    if (this.#server === null) return null
    return { host: this.#config.host, port: this.#server.port, isTls: this.#server.isTls }
  }

  /** WebSockets that are open. */
  get webSockets(): number {
    return this.#server?.sockets.size ?? 0
  }

  /** Queries over HTTP that are not answered to the last byte. */
  get httpRequests(): number {
    return this.#sql.size
  }

  /** @throws one clear sentence when the port cannot be opened */
  async open(): Promise<void> {
    const { host, port, keepaliveMs } = this.#config
    if (host === '') return
    const { maxConnections: clients, maxUnauthenticated: strangers } = this.#parts.config().client
    const isLimited = clients > 0 && strangers > 0
    const maxConnections = isLimited ? clients + strangers + SPARE_CONNECTIONS : 0
    const options = { host, port, tls: tlsOf(this.#config), keepaliveMs, maxConnections }
    this.#server = await openWebServer(options, {
      onWebSocket: (stream, head) => this.#onWebSocket(stream, head),
      onRequest: (request, response) => this.#onRequest(request, response),
      onRefused: (status) => this.#parts.house.counters.http.answered(status),
    })
  }

  /** Other rules, or files of certificates. @throws one sentence about a file; then nothing has changed */
  reconfigure({ serverless }: Config): void {
    const keys = this.#tokens.prepare(serverless.jwt)
    this.#server?.reconfigure({ tls: tlsOf(serverless), keepaliveMs: serverless.keepaliveMs })
    this.#doors = new Doors(serverless)
    this.#tokens.use(serverless.jwt, keys)
    this.#parts.auth.failures.configure(serverless)
  }

  /** Nobody else comes in. Those who are in are told by the house. */
  async close(): Promise<void> {
    this.#isDraining = true
    for (const stream of this.#server?.sockets ?? []) stream.closeCode = CloseCode.GoingAway
    this.#tokens.close()
    await this.#server?.close()
  }

  /** Resolves when every answer has gone out. */
  async finished(): Promise<void> {
    await this.#server?.finished()
  }

  /** Answers that are still under way are given up. */
  cutOff(): void {
    this.#server?.cutOff()
  }

  tick(now: number): void {
    this.#server?.tick(now, this.#config.pingIntervalMs)
    this.#sql.tick(now)
  }

  #onWebSocket(stream: WsStream, { headers, url }: UpgradeHead): void {
    this.#parts.house.counters.webSockets++
    stream.peer = this.#doors.caller(headers, stream.peer).peer
    if (this.#isDraining) stream.closeCode = CloseCode.GoingAway
    const { addresses, pipelinedTls } = this.#config
    this.#parts.accept(stream, { pipelinedTls, ...targetOf(url, addresses) })
  }

  #onRequest(request: WebRequest, response: WebResponse): void {
    const doors = this.#doors
    const { headers, socket } = request
    const caller = doors.sameCaller(headers, this.#callers.get(socket)) ?? this.#callerOf(request)
    this.#sql.handle(request, response, { caller, doors })
  }

  #callerOf({ headers, socket }: WebRequest): Caller {
    const doors = this.#doors
    const peer = { ...describePeer(socket, false), encrypted: this.#server?.isTls === true }
    const caller = doors.caller(headers, peer)
    if (!isForwarded(headers))
      this.#callers.set(socket, { caller, doors, host: headers.host, origin: headers.origin })
    return caller
  }
}

function tlsOf({ tls }: ServerlessConfig): ServerlessConfig['tls'] | null {
  return tls.certFile === '' ? null : tls
}

/** The database that `?address=` names. Nothing is ever connected to. */
function targetOf(
  url: string,
  addresses: ServerlessConfig['addresses'],
): Pick<Entrance, 'database' | 'unknownAddress'> {
  const ordinary = { database: null, unknownAddress: null }
  if (addresses.length === 0) return ordinary
  const query = url.indexOf('?')
  const said = query < 0 ? null : new URLSearchParams(url.slice(query + 1)).get('address')
  if (said === null) return ordinary
  const wanted = addressKey(said)
  const found = addresses.find(({ address }) => address === wanted)
  return found === undefined
    ? { database: null, unknownAddress: said }
    : { ...ordinary, database: found.database }
}
