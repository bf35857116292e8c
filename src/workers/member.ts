// A worker's end: what its pooler asks of the first process, and what that asks of the pooler. It owns
// nothing but the line; all decisions are the pooler's or the first process'.
import type { Credentials, PoolKey, Taker } from '../admin/dashboard/types.ts'
import type { ConsoleFellows, ShutdownMode } from '../admin/console/types.ts'
import type { Config } from '../config/types.ts'
import type { Fellows } from '../frontend/fellows.ts'
import type { KnownServer, Membership } from '../membership.ts'
import { systemClock } from '../net/clock.ts'
import { type HandedDoors, listenBehind, type RawHandle } from '../net/handed.ts'
import { LeasedPlaces } from '../pool/leased-places.ts'
import type { Limits, SharedLimits } from '../pool/limits.ts'
import type { Demand, Place } from '../pool/places.ts'
import type { Pooler } from '../pooler.ts'
import type { Value } from '../wire/rows.ts'
import { type Channel, Line } from './line.ts'
import type { CancelRequest, GateMarks, Order, Start } from './messages.ts'

/** What the first process orders before there is a pooler, and how this one ends. */
export interface MemberEvents {
  /** @throws one clear sentence */
  onStart(start: Start): Promise<void>
  onDrain(timeoutMs: number): void
  onDrainWhenEmpty(): void
}

export class Member implements Membership {
  readonly fellows: Fellows
  readonly console: ConsoleFellows
  readonly #line: Line
  readonly #events: MemberEvents
  #doors: HandedDoors | null = null
  #places: LeasedPlaces | null = null
  #pooler: Pooler | null = null
  #lastOrder = 0

  constructor(channel: Channel, events: MemberEvents) {
    this.#events = events
    this.#line = new Line(channel, {
      ...this.#ofPlaces(),
      ...this.#ofPooler(),
      start: (start: Start) => this.#events.onStart(start),
      drain: (timeoutMs: number) => this.#events.onDrain(timeoutMs),
      drainWhenEmpty: () => this.#events.onDrainWhenEmpty(),
      connection: (key: string, handle: RawHandle | undefined) => this.#onConnection(key, handle),
    })
    const line = this.#line
    this.fellows = {
      number: 0,
      count: 1,
      enter: (address) => line.ask('enter', { address }),
      enterUser: (database, user) => line.ask('enterUser', { database, user }),
      leave: (address) => line.tell('leave', { address }),
      leaveUser: (database, user) => line.tell('leaveUser', { database, user }),
      cancel: (pid, key) => line.ask<void>('cancel', { pid, key }).catch(() => {}),
    }
    this.console = {
      rows: (command) => line.ask<Value[][][]>('rows', command),
      act: (command, argument) => this.#act(command, argument),
    }
  }

  /** Which of how many this is. */
  known({ number, count }: Start, doors: HandedDoors): void {
    Object.assign(this.fellows, { number, count })
    this.#doors = doors
    listenBehind(doors)
  }

  /** It is there from now on. */
  serve(pooler: Pooler, gates: GateMarks): void {
    this.#pooler = pooler
    const marks = pooler.router.gates
    marks.isAllPaused = gates.isAllPaused
    pooler.house.isSuspended = gates.isSuspended
    for (const name of gates.paused) marks.paused.add(name)
    for (const name of gates.disabled) marks.disabled.add(name)
    // Without an admin port nobody would read it.
    if (pooler.config.admin.host !== '') pooler.desk.follow((lines) => this.#line.tell('log', lines))
  }

  limits(shared: SharedLimits): Limits {
    const line = this.#line
    this.#places = new LeasedPlaces(
      shared,
      {
        want: (want) => line.tell('want', want),
        unwant: (id) => line.tell('unwant', id),
        giveBack: (place, count) => line.tell('giveBack', { place, count }),
      },
      { now: () => systemClock.now(), wall: () => Date.now() },
    )
    return this.#places
  }

  reload(): Promise<void> {
    return this.#line.ask('reload')
  }

  set(options: readonly (readonly [option: string, text: string | null])[]): Promise<void> {
    return this.#line.ask('set', options)
  }

  shutdown(mode: ShutdownMode): void {
    this.#line.tell('shutdown', mode)
  }

  onServerOpened(server: KnownServer): void {
    this.#line.tell('serverOpened', server)
  }

  onServerClosed(pid: number): void {
    this.#line.tell('serverClosed', pid)
  }

  vacate(text: string): void {
    this.#line.tell('vacate', text)
  }

  #act(command: string, argument: string): { done: Promise<void>; abandon(): void } {
    const id = ++this.#lastOrder
    const done = this.#line.ask<void>('act', { id, command, argument })
    return { done, abandon: () => this.#line.tell('abandon', id) }
  }

  #onConnection(key: string, handle: RawHandle | undefined): boolean {
    if (handle === undefined) return false
    if (this.#doors !== null) return this.#doors.take(key, handle)
    handle.close()
    return false
  }

  #ofPlaces() {
    return {
      grant: ({ id, place }: { id: number; place: Place }) => this.#places?.granted(id, place),
      refuse: (id: number) => this.#places?.refused(id),
      demands: (demands: readonly Demand[]) => this.#places?.demand(demands),
    }
  }

  #ofPooler() {
    const pooler = (): Pooler => {
      if (this.#pooler === null) throw new Error('the worker has not started')
      return this.#pooler
    }
    return {
      look: () => true,
      ready: () => pooler().ready(),
      metrics: (from: number) => pooler().numbers.part(from),
      reloadWith: (config: Config) => {
        pooler().reload(config)
      },
      pause: () => pooler().pause(),
      resume: () => pooler().resume(),
      reading: (taker: Taker) => pooler().desk.reading(taker),
      part: () => pooler().desk.part(false),
      held: (keys: readonly PoolKey[]) => pooler().desk.held(keys),
      check: (credentials: Credentials) => pooler().desk.check(credentials),
      rows: (command: string) => pooler().consoleDoor.elsewhere.rows(command),
      act: async ({ id, command, argument }: Order): Promise<GateMarks> => {
        await pooler().consoleDoor.elsewhere.act(id, command, argument)
        return marksOf(pooler())
      },
      abandon: (id: number) => pooler().consoleDoor.elsewhere.abandon(id),
      vacate: (text: string) => pooler().router.vacate(text, null),
      cancel: ({ pid, key }: CancelRequest) =>
        new Promise<void>((resolve) => pooler().house.cancelOwn(pid, Buffer.from(key), resolve)),
    }
  }
}

function marksOf({ router: { gates }, house: { isSuspended } }: Pooler): GateMarks {
  const { isAllPaused, paused, disabled } = gates
  return { isAllPaused, isSuspended, paused: [...paused], disabled: [...disabled] }
}
