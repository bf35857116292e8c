// What Postgres makes of the startup parameters of one client: the settings that they stand for, asked on a
// server of the pool where they are not known. It owns this question only; what follows is its caller's.
import type { LeasedServer, Lessee, ServerLoss } from '../pool/lease.ts'
import type { Refusal, Waiter } from '../pool/types.ts'
import type { StartupWishes } from '../session/baseline.ts'
import type { Settings } from '../session/settings.ts'
import { VirtualSession } from '../session/virtual-session.ts'
import type { PoolAccess, Welcome } from './types.ts'

/** Longest application_name that Postgres takes as it is, and the characters it does not replace. */
const NAME_MAX = 63
const CLEAN = /^[\x20-\x7e]*$/

export interface ReceptionParts {
  readonly access: PoolAccess
  readonly wishes: StartupWishes
  /** Names as the client wrote them. */
  readonly names: Iterable<string>
  onSettled(welcome: Welcome, settings: Settings): void
  onRefused(refusal: Refusal): void
}

export class Reception implements Waiter<LeasedServer>, Lessee {
  readonly isProbe = true
  readonly baseline: string
  wantedSettings: Settings | null = null
  lastServer: LeasedServer | null = null
  waitingSince = 0
  waitDeadline = 0
  passedOver = 0
  session!: VirtualSession
  readonly #parts: ReceptionParts
  #wishKey = ''
  #server: LeasedServer | null = null
  #isWaiting = false
  #isOver = false

  constructor(parts: ReceptionParts) {
    this.#parts = parts
    this.baseline = parts.wishes.baseline
  }

  start(): void {
    const welcome = this.#parts.access.welcome(this.baseline)
    if (welcome === null) this.#acquire()
    else this.#onWelcome(welcome, null)
  }

  /** The client has gone. */
  abandon(): void {
    if (this.#isOver) return
    this.#isOver = true
    if (this.#isWaiting) this.#parts.access.pool.leave(this)
    this.#server?.abandon('lost')
  }

  /** With Postgres out of reach a login does not wait as long as a query may. */
  tick(now: number): void {
    if (!this.#isWaiting) return
    const { pool, connectTimeoutMs } = this.#parts.access
    const failure = pool.lastFailure
    if (failure === null || now - this.waitingSince < connectTimeoutMs) return
    if (pool.size > pool.opening.size) return
    pool.leave(this)
    this.onRefuse(failure.refusal)
  }

  // ---- a server, to ask Postgres ----

  #acquire(): void {
    this.#isWaiting = true
    const server = this.#parts.access.pool.acquire(this)
    if (server !== null) this.onGrant(server)
  }

  onGrant(server: LeasedServer): void {
    this.#isWaiting = false
    const welcome = this.#parts.access.welcome(this.baseline)
    if (welcome === null) {
      server.close('it told no parameters')
      this.#refuse({
        severity: 'FATAL',
        code: '08006',
        message: 'Postgres told no parameters',
        reason: 'server_login',
      })
      return
    }
    this.#onWelcome(welcome, server)
  }

  onRefuse(refusal: Refusal): void {
    this.#isWaiting = false
    this.#refuse({ ...refusal, severity: 'FATAL' })
  }

  /** The parameters of such a server are known; `server` is ours to give back, if there is one. */
  #onWelcome(welcome: Welcome, server: LeasedServer | null): void {
    const { access, wishes } = this.#parts
    const settings = this.#settingsFor(welcome)
    if (settings !== null) {
      if (server !== null) access.pool.release(server)
      this.#settle(welcome, settings)
      return
    }
    if (server === null) {
      this.#acquire()
      return
    }
    // Postgres judges the wishes, and spells them as it does.
    this.session = new VirtualSession(wished(welcome.settings, wishes.carried), access.registry)
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
  #settingsFor(welcome: Welcome): Settings | null {
    const { access, wishes } = this.#parts
    let settings = welcome.settings
    const unknown: [string, string][] = []
    for (const [name, value] of wishes.carried) {
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
    const { access } = this.#parts
    const welcome = access.welcome(this.baseline)
    this.#server = null
    if (this.#isOver) return
    if (welcome === null) {
      // The pool went to another place meanwhile: its servers have to judge.
      this.#acquire()
      return
    }
    access.remember(this.#wishKey, this.session.settings)
    this.#settle(welcome, this.#settingsFor(welcome) ?? this.session.settings)
  }

  onServerLost(loss: ServerLoss): void {
    this.#server = null
    const { refusal } = loss
    this.#refuse({ ...refusal, message: this.#asSpelled(refusal.message), severity: 'FATAL' })
  }

  /** Postgres repeats the names of some parameters as the client wrote them. */
  #asSpelled(message: string): string {
    for (const name of this.#parts.names) {
      if (name.toLowerCase() === 'intervalstyle') return message.replace('"IntervalStyle"', `"${name}"`)
    }
    return message
  }

  // ---- the end ----

  #settle(welcome: Welcome, settings: Settings): void {
    if (this.#isOver) return
    this.#isOver = true
    this.#parts.onSettled(welcome, settings)
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
