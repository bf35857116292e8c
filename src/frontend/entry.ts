// From "authenticated" to "logged in": finds the pool, has Postgres judge the startup parameters, and tells
// the client what Postgres tells at a login. It owns this step only; it ends in a Client or in a refusal.
import type { Claims } from '../auth/jwt.ts'
import type { LeasedServer } from '../pool/lease.ts'
import type { Refusal } from '../pool/types.ts'
import { type StartupWishes, wishesOf } from '../session/baseline.ts'
import type { Settings } from '../session/settings.ts'
import { VirtualSession } from '../session/virtual-session.ts'
import type { SecurableStream } from '../wire/byte-stream.ts'
import { backendKeyData, READY_IDLE } from '../wire/messages.ts'
import { fromText } from '../wire/startup.ts'
import { Client } from './client.ts'
import { isConsole } from './console-door.ts'
import { notForTokens, notReplicated } from './refusals.ts'
import { replicationOf } from './replication.ts'
import { Reception } from './reception.ts'
import { told } from './told.ts'
import type { House, PoolAccess, Reroute, Visitor, Welcome } from './types.ts'

/** Bytes that a client may send before it has been told that it is logged in. */
const EARLY_MAX = 64 * 1024
/** Where policies look for what a token says. */
const CLAIMS_SETTING = 'request.jwt.claims'
/** What a client with a token does not choose itself. */
const OF_TOKENS: ReadonlySet<string> = new Set(['role', CLAIMS_SETTING])

export interface EntryParts {
  stream: SecurableStream
  house: House
  visitor: Visitor
  parameters: ReadonlyMap<string, string>
  keyLength: number
  onEntered(): void
  onRefused(refusal: Refusal): void
}

export class Entry {
  readonly #parts: EntryParts
  #wishes: StartupWishes = { baseline: '', strict: '', carried: new Map() }
  #reception: Reception | null = null
  #own: { cancel(): void } | null = null
  #isOver = false
  #early: Buffer[] = []
  #earlyBytes = 0

  constructor(parts: EntryParts) {
    this.#parts = parts
  }

  start(): void {
    const { house, visitor } = this.#parts
    const { claims } = visitor
    const isReplication = replicationOf(this.#parts.parameters.get('replication') ?? '0') === true
    if (claims !== undefined && (isReplication || isConsole(visitor.database))) {
      this.#refuse(notForTokens())
      return
    }
    if (isConsole(visitor.database)) {
      this.#enterConsole()
      return
    }
    if (house.reroute === null) this.#goTo(visitor.database, isReplication)
    else this.#askWhere(house.reroute, isReplication)
  }

  #askWhere(reroute: Reroute, isReplication: boolean): void {
    const goOn = (to: string | Refusal): void => {
      if (this.#isOver) return
      if (typeof to === 'string') this.#goTo(to, isReplication)
      else this.#refuse(to)
    }
    reroute(this.#parts.visitor)
      .then(goOn)
      .catch((thrown: Error) => this.#parts.stream.destroy(`internal error: ${thrown.message}`))
  }

  #goTo(database: string, isReplication: boolean): void {
    const { house, visitor } = this.#parts
    const { claims } = visitor
    const access = house.route(database, claims?.loginUser ?? visitor.user)
    if ('reason' in access) {
      this.#refuse(access)
      return
    }
    const parameters = claims === undefined ? this.#parts.parameters : this.#claimed(claims, access)
    if (isReplication) {
      this.#openOwn(access)
      return
    }
    const wishes = house.limits.addAddress ? this.#withAddress(parameters) : parameters
    this.#wishes = wishesOf(wishes, access.mode)
    this.#reception = new Reception({
      access,
      wishes: this.#wishes,
      names: parameters.keys(),
      onSettled: (welcome, settings) => this.#enter(access, welcome, settings),
      onRefused: (refusal) => this.#refuse(refusal),
    })
    this.#reception.start()
  }

  /**
   * With what a token says, as parameters of the login to Postgres: its servers are only for those of whom
   * the same is said, and no RESET takes it away.
   */
  #claimed({ role, json }: Claims, { loginUser }: PoolAccess): ReadonlyMap<string, string> {
    const parameters = new Map(this.#parts.parameters)
    for (const name of this.#parts.parameters.keys())
      if (OF_TOKENS.has(name.toLowerCase())) parameters.delete(name)
    if (role !== loginUser) parameters.set('role', fromText(role))
    return parameters.set(CLAIMS_SETTING, fromText(json))
  }

  /** With where it comes from in its `application_name`. */
  #withAddress(parameters: ReadonlyMap<string, string>): ReadonlyMap<string, string> {
    const { kind, address, port } = this.#parts.stream.peer
    const from = kind === 'unix' ? 'unix' : `${address}:${port}`
    const name = parameters.get('application_name') ?? ''
    return new Map(parameters).set('application_name', name === '' ? from : `${name} - ${from}`)
  }

  /** Requests that come before ReadyForQuery wait for it. */
  onEarlyData(chunk: Buffer): void {
    this.#early.push(Buffer.from(chunk))
    this.#earlyBytes += chunk.length
    if (this.#earlyBytes > EARLY_MAX) this.#parts.stream.pause()
  }

  /** The client has gone. */
  abandon(): void {
    if (this.#isOver) return
    this.#isOver = true
    this.#reception?.abandon()
    this.#own?.cancel()
  }

  /** Time has passed. */
  tick(now: number): void {
    this.#reception?.tick(now)
  }

  // ---- replication ----

  #openOwn(access: PoolAccess): void {
    const parameters = new Map(this.#parts.parameters)
    parameters.delete('user')
    parameters.delete('database')
    this.#own = access.openOwn(parameters, {
      onReady: (server, welcome) => {
        this.#own = null
        if (this.#isOver) server.close('its client has gone')
        else this.#enter(access, welcome, welcome.settings, server)
      },
      onFailed: (refusal) => this.#refuse({ ...refusal, severity: 'FATAL' }),
    })
  }

  // ---- the end ----

  #enter(access: PoolAccess, welcome: Welcome, settings: Settings, own: LeasedServer | null = null): void {
    if (this.#isOver) return
    this.#isOver = true
    const { stream, house, visitor, keyLength } = this.#parts
    const session = new VirtualSession(settings, access.registry)
    session.watch = access.watchOf(session, visitor)
    for (const name of this.#wishes.carried.keys()) session.wished(name)
    session.strictBaseline = this.#wishes.carried.size === 0 ? null : this.#wishes.strict
    if (access.mode === 'session' || own !== null) session.pins.add('session')
    const { pid, key } = house.cancelKeys.issue(keyLength)
    const { baseline } = this.#wishes
    const client = new Client(stream, { house, access, visitor, session, baseline, pid }, own)
    if (session.pins.size === 0) session.pins.watch(access.pins, client)
    house.cancelKeys.assign(pid, client)
    stream.write(told(welcome, settings))
    stream.write(backendKeyData(pid, key))
    stream.write(READY_IDLE)
    stream.handler = client
    this.#parts.onEntered()
    house.onEntered(client)
    this.#passEarly()
  }

  #enterConsole(): void {
    const { stream, house, visitor, parameters, keyLength, onEntered } = this.#parts
    if (replicationOf(parameters.get('replication') ?? '0') === true) {
      this.#refuse(notReplicated())
      return
    }
    const refusal = house.enterConsole({ stream, visitor, parameters, keyLength, onEntered })
    if (refusal !== null) {
      this.#refuse(refusal)
      return
    }
    this.#isOver = true
    this.#passEarly()
  }

  /** What came too early is the new owner's. */
  #passEarly(): void {
    const { stream } = this.#parts
    const early = this.#early
    this.#early = []
    if (this.#earlyBytes > EARLY_MAX) stream.resume()
    if (early.length > 0) stream.handler.onData(Buffer.concat(early))
  }

  #refuse(refusal: Refusal): void {
    if (this.#isOver) return
    this.#isOver = true
    this.#parts.onRefused(refusal)
  }
}
