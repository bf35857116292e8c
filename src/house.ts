// The clients of the process: who is at the door, who is in, what each may. It owns these lists and their
// limits; it knows no pools and no sockets.
import type { ClientAuthContext } from './auth/client-auth.ts'
import type { Access, Arrival, Gate } from './auth/access.ts'
import type { AuthFailure } from './auth/failure.ts'
import type { SecretStore } from './auth/secrets.ts'
import type { ClientConfig } from './config/types.ts'
import { CancelKeys } from './frontend/cancel-keys.ts'
import type { Client } from './frontend/client.ts'
import { type ConsoleDoor, type ConsoleVisit, isConsole } from './frontend/console-door.ts'
import type { Fellows } from './frontend/fellows.ts'
import { add, GuestBook, type GuestRules, isFull } from './frontend/guest-book.ts'
import { outOfMemory, TOKEN_ENDED, tooManyClients } from './frontend/refusals.ts'
import { Startup } from './frontend/startup.ts'
import { tellDefault } from './frontend/told.ts'
import { type Entrance, TRY_AGAIN_LATER } from './frontend/web-entrance.ts'
import type {
  DefaultChange,
  House as HouseView,
  PoolAccess,
  Reroute,
  Verdict,
  Visitor,
} from './frontend/types.ts'
import { reportHandlerError } from './net/handler-errors.ts'
import type { Counters } from './observe/counters.ts'
import type { Log } from './observe/log.ts'
import type { MemoryWatch } from './observe/memory-watch.ts'
import type { Troubles } from './observe/troubles.ts'
import type { Refusal } from './pool/types.ts'
import type { Random } from './util/env.ts'
import type { SecurableStream, TlsSettings } from './wire/byte-stream.ts'
import { errorResponse } from './wire/error-response.ts'

/** What a reload replaces. */
export interface HouseRules extends GuestRules {
  readonly limits: ClientConfig
  readonly access: Access
  readonly tls: TlsSettings | null
  /** Which comings and goings are worth a line of level info. */
  readonly logs: { readonly connections: boolean; readonly disconnections: boolean }
}

export interface HouseParts extends HouseRules {
  readonly random: Random
  readonly time: { now: number }
  readonly counters: Counters
  readonly auth: ClientAuthContext
  readonly secrets: SecretStore
  readonly log: Log
  readonly troubles: Troubles
  route(database: string, user: string): PoolAccess | Refusal
  readonly console: ConsoleDoor
  readonly memory: MemoryWatch
  /** Null: this process does all the work. */
  readonly fellows: Fellows | null
}

export class House implements HouseView {
  readonly cancelKeys: CancelKeys
  readonly clients = new Set<Client>()
  readonly visitors = new Set<Startup>()
  isDraining = false
  /** Nothing is read from any client. */
  isSuspended = false
  /** Says to which database a client goes; null: to the one that it names. */
  reroute: Reroute | null = null
  /** It will drain soon: whoever sends clients here had better look for another. */
  isEndNear = false
  /** Told when the last client or visitor has gone. */
  onEmpty: (() => void) | null = null
  #parts: HouseParts
  readonly #guests: GuestBook
  /** Visitors by their address. */
  readonly #atDoor = new Map<string, number>()

  constructor(parts: HouseParts) {
    this.#parts = parts
    this.cancelKeys = new CancelKeys(parts.random, parts.fellows)
    this.#guests = new GuestBook(() => this.#parts)
  }

  get random(): Random {
    return this.#parts.random
  }
  get time(): { readonly now: number } {
    return this.#parts.time
  }
  get counters(): Counters {
    return this.#parts.counters
  }
  get auth(): ClientAuthContext {
    return this.#parts.auth
  }
  get limits(): ClientConfig {
    return this.#parts.limits
  }
  get tls(): TlsSettings | null {
    return this.#parts.tls
  }

  /** Other rules and limits count from now on. Who is counted stays counted, who is in stays in. */
  reconfigure(parts: HouseRules): void {
    this.#parts = { ...this.#parts, ...parts }
  }

  /**
   * Those whose pool or (`farewellOf`) whose user is gone go at the next boundary of a transaction, those who
   * are on their way in at once.
   */
  dismissAll(farewellOf: (user: string) => Refusal | null): void {
    for (const client of [...this.clients]) {
      const farewell = client.access.farewell ?? farewellOf(client.visitor.user)
      if (farewell !== null) client.drain(farewell)
    }
    for (const visitor of [...this.visitors]) visitor.dismiss(farewellOf)
  }

  /** A connection was accepted. @param entrance what opened its WebSocket; null: it came in without one */
  accept(stream: SecurableStream, entrance: Entrance | null = null): void {
    const { address } = stream.peer
    const full = this.#fullDoor(address)
    if (full !== null) {
      if (entrance !== null) stream.closeCode = TRY_AGAIN_LATER
      stream.end(errorResponse(tooManyClients(full)))
      const refusal = tooManyClients(full)
      this.counters.errors.add([refusal.code, full])
      this.#parts.troubles.add(refusal, { database: '', user: '', address })
      return
    }
    const startup = new Startup(stream, this, entrance)
    stream.handler = startup
    this.visitors.add(startup)
    add(this.#atDoor, address, 1)
  }

  /** The limit that keeps another connection from being listened to; null: none. */
  #fullDoor(address: string): string | null {
    const { maxUnauthenticated, maxPerAddress } = this.limits
    if (isFull(this.visitors.size, maxUnauthenticated)) return 'client.max_unauthenticated'
    // One address must not fill the door for all. Who is in does not count here: it may want to cancel.
    return isFull(this.#atDoor.get(address), maxPerAddress) ? 'client.max_per_address' : null
  }

  get secrets(): SecretStore {
    return this.#parts.secrets
  }

  judge(arrival: Arrival): Gate | AuthFailure {
    return this.#parts.access.judge(arrival)
  }

  admit(visitor: Visitor): Verdict {
    // Whoever has to look why the house is full must get in. The console has a limit of its own.
    if (isConsole(visitor.database)) return null
    if (this.isShortOfMemory) return outOfMemory()
    const { address } = visitor
    const full = this.#guests.enter(address)
    const { fellows } = this.#parts
    if (full !== null || fellows === null) return refusalOf(full)
    return fellows.enter(address).then((fullForAll) => {
      if (fullForAll !== null) this.#guests.leave(address)
      return refusalOf(fullForAll)
    })
  }

  admitUser({ database, user }: Visitor): Verdict {
    if (isConsole(database)) return null
    const full = this.#guests.enterUser(database, user)
    const { fellows } = this.#parts
    if (full !== null || fellows === null) return refusalOf(full)
    return fellows.enterUser(database, user).then((fullForAll) => {
      if (fullForAll !== null) this.#guests.leaveUser(database, user)
      return refusalOf(fullForAll)
    })
  }

  dismiss(visitor: Visitor, hadLoggedIn: boolean): void {
    if (isConsole(visitor.database)) return
    this.#guests.leave(visitor.address)
    this.#parts.fellows?.leave(visitor.address)
    if (hadLoggedIn) this.dismissUser(visitor)
  }

  dismissUser({ database, user }: Visitor): void {
    if (isConsole(database)) return
    this.#guests.leaveUser(database, user)
    this.#parts.fellows?.leaveUser(database, user)
  }

  cancel(pid: number, key: Buffer, onOver: () => void): void {
    const { fellows } = this.#parts
    if (fellows === null || this.cancelKeys.isOwn(pid)) this.cancelOwn(pid, key, onOver)
    else void fellows.cancel(pid, key).finally(onOver)
  }

  /** One for a client of this process, wherever it came in. */
  cancelOwn(pid: number, key: Buffer, onOver: () => void): void {
    const target = this.cancelKeys.find(pid, key)
    if (target === null) {
      onOver()
      return
    }
    this.counters.cancels++
    target.cancelRequest(onOver)
  }

  /** Nobody comes in until it is well again. */
  get isShortOfMemory(): boolean {
    return this.#parts.memory.isShort
  }

  route(database: string, user: string): PoolAccess | Refusal {
    return this.#parts.route(database, user)
  }

  enterConsole(visit: ConsoleVisit): Refusal | null {
    return this.#parts.console.enter(visit)
  }

  onEntered(client: Client): void {
    this.clients.add(client)
    client.access.clients++
    client.access.counters.clientsTotal++
    const { log, logs } = this.#parts
    log[logs.connections ? 'info' : 'debug'](labels(client.visitor), 'client logged in')
    this.#parts.troubles.watcher?.entered(client.visitor)
    if (this.isSuspended) client.inbox.suspend(true)
    const { farewell } = client.access
    if (this.isDraining) client.drain()
    else if (farewell !== null) client.drain(farewell)
  }

  onLeft(client: Client, reason: string): void {
    if (this.clients.delete(client)) client.access.clients--
    this.cancelKeys.revoke(client.pid)
    this.dismiss(client.visitor, true)
    const { log, logs, time } = this.#parts
    const fields = { ...labels(client.visitor), reason, age_s: age(time.now - client.watch.connectedAt) }
    log[logs.disconnections ? 'info' : 'debug'](fields, 'client left')
    this.#parts.troubles.watcher?.left(client.visitor, reason)
    this.#tellIfEmpty()
  }

  /** A client of one request, which was counted at its login, and of which no line is written. */
  onRequest(client: Client): void {
    this.clients.add(client)
    client.access.clients++
    client.access.counters.clientsTotal++
  }

  onRequestOver(client: Client): void {
    if (this.clients.delete(client)) client.access.clients--
    this.#tellIfEmpty()
  }

  onVisitorOver(visitor: Startup): void {
    if (this.visitors.delete(visitor)) add(this.#atDoor, visitor.address, -1)
    this.#tellIfEmpty()
  }

  onRefused(visitor: Visitor, refusal: Refusal): void {
    const { counters } = this
    this.#parts.troubles.report(refusal, visitor, { counters, message: 'client refused' })
  }

  /** A default has changed in Postgres: clients of this pool without a value of their own are told. */
  followDefault(access: PoolAccess, change: DefaultChange): void {
    for (const client of this.clients) {
      if (client.access === access && client.baseline === change.baseline) tellDefault(client, change)
    }
  }

  /** Stops: those at the door are refused, those in go at the next boundary of a transaction. */
  drain(): void {
    this.isDraining = true
    for (const visitor of [...this.visitors]) visitor.drain()
    for (const client of [...this.clients]) client.drain()
  }

  /** The same. @returns resolves when the last of them has gone */
  async drained(): Promise<void> {
    const empty = new Promise<void>((resolve) => {
      this.onEmpty = resolve
    })
    this.drain()
    if (this.clients.size > 0 || this.visitors.size > 0) await empty
  }

  /** Nothing is read from clients, new ones too, until it is called with false. */
  suspend(isSuspended: boolean): void {
    this.isSuspended = isSuspended
    for (const client of this.clients) client.inbox.suspend(isSuspended)
  }

  /** Ends everything now. */
  closeAll(refusal: Refusal): void {
    for (const visitor of [...this.visitors]) visitor.drain()
    for (const client of [...this.clients]) client.fatal(refusal)
  }

  tick(now: number): void {
    this.#watchMemory(now)
    for (const visitor of this.visitors) {
      try {
        visitor.tick(now)
      } catch (thrown) {
        // One connection's trouble must not be everybody's.
        reportHandlerError(thrown, 'the timeouts of a login')
        visitor.cut('internal error')
      }
    }
    for (const client of this.clients) {
      const { claims } = client.visitor
      try {
        if (claims !== undefined && this.auth.tokens.hasEnded(claims)) client.drain(TOKEN_ENDED)
        client.tick(now)
        client.session.mail?.deliver()
      } catch (thrown) {
        reportHandlerError(thrown, 'the timeouts of a client')
        client.stream.destroy('internal error')
      }
    }
  }

  #watchMemory(now: number): void {
    const { memory, log } = this.#parts
    if (!memory.tick(now, this.limits.memoryLimit)) return
    if (memory.isShort) log.warn({}, 'memory is nearly used up: new clients are refused')
    else log.info({}, 'there is memory again: new clients are let in')
  }

  #tellIfEmpty(): void {
    if (this.clients.size === 0 && this.visitors.size === 0) this.onEmpty?.()
  }
}

function refusalOf(full: string | null): Refusal | null {
  return full === null ? null : tooManyClients(full)
}

/** Seconds, with one digit behind the point. */
function age(ms: number): number {
  return Math.round(ms / 100) / 10
}

function labels(visitor: Visitor): { client: string; user: string; database: string } {
  return { client: visitor.address, user: visitor.user, database: visitor.database }
}
