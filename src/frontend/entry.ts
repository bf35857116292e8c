// From "authenticated" to "logged in": finds the pool, has Postgres judge the startup parameters, and tells
// the client what Postgres tells at a login. It owns this step only; it ends in a Client or in a refusal.
import type { LeasedServer, Lessee, ServerLoss } from '../pool/lease.ts'
import type { Refusal, Waiter } from '../pool/types.ts'
import { type StartupWishes, wishesOf } from '../session/baseline.ts'
import type { Settings } from '../session/settings.ts'
import { VirtualSession } from '../session/virtual-session.ts'
import type { SecurableStream } from '../wire/byte-stream.ts'
import { backendKeyData, READY_IDLE } from '../wire/messages.ts'
import { Client } from './client.ts'
import { isConsole } from './console-door.ts'
import { notReplicated } from './refusals.ts'
import { replicationOf } from './replication.ts'
import { told } from './told.ts'
import type { House, PoolAccess, Visitor, Welcome } from './types.ts'

/** Bytes that a client may send before it has been told that it is logged in. */
const EARLY_MAX = 64 * 1024
/** Longest application_name that Postgres takes as it is, and the characters it does not replace. */
const NAME_MAX = 63
const CLEAN = /^[\x20-\x7e]*$/

export interface EntryParts {
  stream: SecurableStream
  house: House
  visitor: Visitor
  parameters: ReadonlyMap<string, string>
  keyLength: number
  onEntered(): void
  onRefused(refusal: Refusal): void
}

export class Entry implements Waiter<LeasedServer>, Lessee {
  readonly isProbe = true
  baseline = ''
  wantedSettings: Settings | null = null
  lastServer: LeasedServer | null = null
  waitingSince = 0
  waitDeadline = 0
  passedOver = 0
  session!: VirtualSession
  readonly #parts: EntryParts
  #access: PoolAccess | null = null
  #wishes: StartupWishes = { baseline: '', carried: new Map() }
  #wishKey = ''
  #server: LeasedServer | null = null
  #own: { cancel(): void } | null = null
  #isWaiting = false
  #isOver = false
  #early: Buffer[] = []
  #earlyBytes = 0

  constructor(parts: EntryParts) {
    this.#parts = parts
  }

  start(): void {
    const { house, visitor, parameters } = this.#parts
    if (isConsole(visitor.database)) {
      this.#enterConsole()
      return
    }
    const access = house.route(visitor.database, visitor.user)
    if ('reason' in access) {
      this.#refuse(access)
      return
    }
    this.#access = access
    if (replicationOf(parameters.get('replication') ?? '0') === true) {
      this.#openOwn(access)
      return
    }
    const wishes = house.limits.addAddress ? this.#withAddress(parameters) : parameters
    this.#wishes = wishesOf(wishes, access.mode)
    this.baseline = this.#wishes.baseline
    const welcome = access.welcome(this.baseline)
    if (welcome === null) this.#acquire(access)
    else this.#onWelcome(access, welcome, null)
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
    if (this.#isWaiting) this.#access?.pool.leave(this)
    this.#own?.cancel()
    this.#server?.abandon('lost')
  }

  /** With Postgres out of reach a login does not wait as long as a query may. */
  tick(now: number): void {
    const access = this.#access
    if (!this.#isWaiting || access === null) return
    const { pool } = access
    const failure = pool.lastFailure
    if (failure === null || now - this.waitingSince < access.connectTimeoutMs) return
    if (pool.size > pool.opening.size) return
    pool.leave(this)
    this.onRefuse(failure.refusal)
  }

  // ---- a server, to ask Postgres ----

  #acquire(access: PoolAccess): void {
    this.#isWaiting = true
    const server = access.pool.acquire(this)
    if (server !== null) this.onGrant(server)
  }

  onGrant(server: LeasedServer): void {
    this.#isWaiting = false
    const access = this.#access
    const welcome = access?.welcome(this.baseline) ?? null
    if (access === null || welcome === null) {
      server.close('it told no parameters')
      this.#refuse({
        severity: 'FATAL',
        code: '08006',
        message: 'Postgres told no parameters',
        reason: 'server_login',
      })
      return
    }
    this.#onWelcome(access, welcome, server)
  }

  onRefuse(refusal: Refusal): void {
    this.#isWaiting = false
    this.#refuse({ ...refusal, severity: 'FATAL' })
  }

  /** The parameters of such a server are known; `server` is ours to give back, if there is one. */
  #onWelcome(access: PoolAccess, welcome: Welcome, server: LeasedServer | null): void {
    const settings = this.#settingsFor(access, welcome)
    if (settings !== null) {
      if (server !== null) giveBack(access, server)
      this.#enter(access, welcome, settings)
      return
    }
    if (server === null) {
      this.#acquire(access)
      return
    }
    // Postgres judges the wishes, and spells them as it does.
    this.session = new VirtualSession(wished(welcome.settings, this.#wishes.carried), access.registry)
    this.#server = server
    server.lease(this)
    if (server.talk.isBusy) server.flush()
    else {
      // Another client has brought it to these settings: there is nothing left to be judged, and no answer
      // comes.
      server.abandon('terminated')
      this.onLeaseEnd()
    }
  }

  /** Settings for the wishes where Postgres' spelling is known, else null. */
  #settingsFor(access: PoolAccess, welcome: Welcome): Settings | null {
    const { carried } = this.#wishes
    let settings = welcome.settings
    const unknown: [string, string][] = []
    for (const [name, value] of carried) {
      if (settings.values.get(name) === value) continue
      if (name === 'application_name' && value.length <= NAME_MAX && CLEAN.test(value)) {
        settings = settings.with(name, value)
      } else unknown.push([name, value])
    }
    if (unknown.length === 0) return settings
    this.#wishKey = JSON.stringify([this.baseline, unknown])
    const accepted = access.accepted(this.#wishKey)
    if (accepted === null) return null
    for (const [name] of unknown) settings = settings.with(name, accepted.values.get(name) ?? '')
    return settings
  }

  // ---- as its lessee ----

  deliver(): boolean {
    return true
  }

  onServerContinue(): void {}

  onServerDrain(): void {}

  onLeaseEnd(): void {
    const access = this.#access
    this.#server = null
    const welcome = access?.welcome(this.baseline) ?? null
    if (this.#isOver || access === null) return
    if (welcome === null) {
      // The pool went to another place meanwhile: its servers have to judge.
      this.#acquire(access)
      return
    }
    access.remember(this.#wishKey, this.session.settings)
    this.#enter(access, welcome, this.#settingsFor(access, welcome) ?? this.session.settings)
  }

  onServerLost(loss: ServerLoss): void {
    this.#server = null
    const { refusal } = loss
    this.#refuse({ ...refusal, message: this.#asSpelled(refusal.message), severity: 'FATAL' })
  }

  /** Postgres repeats the names of some parameters as the client wrote them. */
  #asSpelled(message: string): string {
    for (const name of this.#parts.parameters.keys()) {
      if (name.toLowerCase() === 'intervalstyle') return message.replace('"IntervalStyle"', `"${name}"`)
    }
    return message
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
    for (const name of this.#wishes.carried.keys()) session.wished(name)
    if (access.mode === 'session' || own !== null) session.pins.add('session')
    const { pid, key } = house.cancelKeys.issue(keyLength)
    const client = new Client(stream, { house, access, visitor, session, baseline: this.baseline, pid }, own)
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

function wished(settings: Settings, carried: ReadonlyMap<string, string>): Settings {
  let wanted = settings
  for (const [name, value] of carried) wanted = wanted.with(name, value)
  return wanted
}

function giveBack(access: PoolAccess, server: LeasedServer): void {
  access.pool.release(server)
}
