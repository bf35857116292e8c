// Owns: what the scripts run on: two databases with the same contents, one reached directly and one through a
// pooler, roles, and client B. Must never let what one script leaves reach the next.
import { randomBytes } from 'node:crypto'
import { readFileSync } from 'node:fs'
import { after } from 'node:test'
import type { PoolEntry } from '../../src/routing/pool-entry.ts'
import { direct } from '../support/compare.ts'
import { type Overrides, startPooler, type TestPooler } from '../support/pooler.ts'
import { startPostgres, type TestPostgres } from '../support/postgres.ts'
import { eventually } from '../support/rig.ts'
import { type ClientOptions, WireClient } from '../support/wire-client.ts'
import { type Ground, perform, type Told, type Watch } from './actor.ts'
import type { Circumstances } from './hostile-acts.ts'
import { type Expected, Neighbour } from './neighbour.ts'
import type { Mode } from './request.ts'
import type { Script } from './script.ts'
import { bytesOf, type Names, textOf } from './text.ts'

/** ms for each answer of a script that has to pass, and of one that is known to hang or differ. */
export const LIMIT_MS = 8000
export const SHORT_LIMIT_MS = 400

/** A Postgres with roles and fixtures for the scripts; `side` makes databases of it. */
export class Arena {
  readonly postgres: TestPostgres
  readonly names: Names
  readonly #prefix: string
  readonly #sides: Side[] = []
  readonly #poolers: TestPooler[] = []
  readonly #expected = new Map<string, Promise<Expected>>()

  private constructor(postgres: TestPostgres, prefix: string) {
    this.postgres = postgres
    this.#prefix = prefix
    const roles = ['alice', 'bob', 'ordinary'].map((role) => [role, `${prefix}_${role}`])
    this.names = Object.fromEntries(roles)
  }

  static async open(): Promise<Arena> {
    const postgres = await startPostgres()
    const arena = new Arena(postgres, `inter_${randomBytes(4).toString('hex')}`)
    const { alice, bob, ordinary } = arena.names
    await postgres.admin(`create role ${alice}; create role ${bob}; grant ${alice} to ${bob}`)
    await postgres.admin(`create role ${ordinary} login password '${postgres.password}'`)
    await postgres.admin(`grant ${alice}, ${bob} to ${ordinary}`)
    after(() => arena.#close())
    return arena
  }

  /** A pooler that goes with the arena. */
  async pooler(overrides: Overrides): Promise<TestPooler> {
    const pooler = await startPooler(this.postgres.url, this.#withUsers(overrides))
    this.#poolers.push(pooler)
    return pooler
  }

  /** A database with the fixtures, reached directly or through this pooler. */
  async side(name: string, pooler: TestPooler | null): Promise<Side> {
    const { postgres, names } = this
    const database = `${this.#prefix}_${name}`
    await postgres.admin(`create database ${database}`)
    const beside = await WireClient.connect(direct(postgres, { database }))
    const fixtures = readFileSync(new URL('fixtures.sql', import.meta.url), 'utf8')
    const { error } = await beside.query(textOf(fixtures, names))
    if (error !== null) throw new Error(`fixtures.sql: ${error.message}`)
    const side = new Side(this, { database, beside, pooler })
    this.#sides.push(side)
    return side
  }

  /** What B is told on a connection of its own. */
  expected(of: Circumstances): Promise<Expected> {
    const key = `${of.isOrdinary} ${of.keepsPins} ${of.hasSequencePins}`
    const known = this.#expected.get(key)
    if (known !== undefined) return known
    const plain = this.#sides.find(({ pooler }) => pooler === null) as Side
    const expected = Neighbour.expectation(plain.options(of.isOrdinary), of)
    this.#expected.set(key, expected)
    return expected
  }

  /** Everybody logs in to Postgres as who they are for the pooler; the superuser may enter the console. */
  #withUsers(overrides: Overrides): Overrides {
    const { user, password } = this.postgres
    const users = [user, this.names.ordinary as string].map((name) => [name, { secret: password }] as const)
    const upstream = { user: '', password: null }
    return { users: new Map(users), upstream, admin: { users: [user] }, ...overrides }
  }

  async #close(): Promise<void> {
    try {
      for (const side of this.#sides) await side.close()
      for (const pooler of this.#poolers) await pooler.stop()
      if (this.postgres.kind !== 'url') return
      for (const { database } of this.#sides) {
        await this.postgres.admin(`drop database ${database} with (force)`)
      }
      await this.postgres.admin(`drop role ${Object.values(this.names).join()}`)
    } finally {
      await this.postgres.stop()
    }
  }
}

interface Parts {
  readonly database: string
  /** A superuser's connection to Postgres itself. */
  readonly beside: WireClient
  readonly pooler: TestPooler | null
}

/** A database, reached directly or through a pooler. */
export class Side {
  readonly pooler: TestPooler | null
  readonly database: string
  /** Does B keep what pins it to its server? */
  keepsPins = false
  /** Is what a client got from a sequence such a pin? */
  hasSequencePins = false
  readonly #arena: Arena
  readonly #beside: WireClient
  readonly #neighbours = new Map<boolean, Neighbour>()
  readonly #schemas = new Set<string>()

  constructor(arena: Arena, { database, beside, pooler }: Parts) {
    this.#arena = arena
    this.database = database
    this.#beside = beside
    this.pooler = pooler
  }

  options(isOrdinary: boolean): ClientOptions {
    const { postgres, names } = this.#arena
    const { host, port } = this.pooler ?? postgres
    const user = isOrdinary ? { user: names.ordinary as string } : {}
    return { ...direct(postgres, { database: this.database, ...user }), host, port }
  }

  /** Runs a script, with B in its gaps where there is a pooler. @throws Error where B is not content */
  run(script: Script, mode: Mode, how: { limit?: number; goesOn?: Watch } = {}): Promise<Told[]> {
    return this.withB(script, mode, (ground, isContent) => {
      const goesOn: Watch = (told) => isContent() && (how.goesOn?.(told) ?? true)
      return perform(script, mode, { ...ground, limit: how.limit ?? LIMIT_MS }, goesOn)
    })
  }

  /** Runs a script on one connection that A and B share without any care. @param acts what B does there */
  async runCarelessly(script: Script, mode: Mode, acts: string): Promise<Told[]> {
    const gap = async (client: WireClient) => {
      await client.query(textOf(acts, this.#arena.names))
    }
    return this.withB(script, mode, (ground) => perform(script, mode, { ...ground, gap, isShared: true }))
  }

  /** Prepares a run of a script, gives it B's time, and sees to it that B comes through in the end. */
  async withB<T>(
    script: Script,
    mode: Mode,
    act: (ground: Ground, isContent: () => boolean) => Promise<T>,
  ): Promise<T> {
    const names = this.#namesOf(script, mode)
    await this.#prepare(script, names)
    const neighbour = this.pooler === null ? null : await this.#neighbour(script.isOrdinary)
    const extra = script.hostile.map((text) => textOf(text, names))
    const ground: Ground = {
      client: this.options(script.isOrdinary),
      names,
      gap: async ({ status }) => neighbour?.gap(extra, /[TE]/.test(status)),
      isShared: false,
      peer: (sql) => this.#do(sql, names),
      limit: LIMIT_MS,
    }
    const result = await act(ground, () => neighbour?.failure == null)
    await neighbour?.settle(LIMIT_MS)
    if (neighbour?.failure != null) throw new Error(neighbour.failure)
    return result
  }

  #namesOf({ file, at }: Script, mode: Mode): Names {
    return { ...this.#arena.names, s: `s_${at}_${mode}_${file}`.replaceAll('-', '_') }
  }

  /** After a script that differed: nobody and nothing of it is left. */
  async renew(): Promise<void> {
    await this.#closeNeighbours()
    await this.#rollBackPrepared()
    const { pooler } = this
    if (pooler === null) return
    const console = { ...this.options(false), database: 'pgmux' }
    await using operator = await WireClient.connect(console)
    await operator.query(`reconnect ${this.database}`)
    await operator.query(`wait_close ${this.database}`)
    await eventually(() => this.#entries().every(({ pool }) => pool.active.size === 0))
  }

  /** B goes; resolves when each server was looked through for what somebody has left there. */
  async lookThrough(): Promise<void> {
    await this.#closeNeighbours()
    await eventually(() =>
      this.#entries().every(({ pool: { active, testing, idle } }) => {
        return active.size + testing.size === 0 && !idle.some(({ isUnseen }) => isUnseen)
      }),
    )
  }

  /** The pools of this database. */
  #entries(): readonly PoolEntry[] {
    return this.pooler === null ? [] : [...this.pooler.pooler.router.of(this.database)]
  }

  async #rollBackPrepared(): Promise<void> {
    const sql = 'select gid from pg_prepared_xacts where database = current_database()'
    const { rows } = await this.#beside.query(sql)
    for (const [gid] of rows) await this.#beside.query(`rollback prepared '${gid}'`)
  }

  async close(): Promise<void> {
    await this.#closeNeighbours()
    await this.#rollBackPrepared()
    await this.#beside.end()
  }

  async #neighbour(isOrdinary: boolean): Promise<Neighbour> {
    const known = this.#neighbours.get(isOrdinary)
    if (known !== undefined) return known
    const { keepsPins, hasSequencePins } = this
    // Each keeps a lock that the other wants.
    if (keepsPins) await this.#closeNeighbours()
    const of = { isOrdinary, keepsPins, hasSequencePins, names: this.#arena.names }
    const neighbour = await Neighbour.connect(this.options(isOrdinary), of, {
      isWaiting: () => this.#entries().some(({ pool }) => pool.waiting.size > 0),
      expected: await this.#arena.expected(of),
    })
    this.#neighbours.set(isOrdinary, neighbour)
    return neighbour
  }

  async #closeNeighbours(): Promise<void> {
    for (const neighbour of this.#neighbours.values()) await neighbour.close()
    this.#neighbours.clear()
  }

  /** The schema of this run, where the script names it, and its setup. */
  async #prepare(script: Script, names: Names): Promise<void> {
    const { s = '' } = names
    if (this.#schemas.has(s)) await this.#do('drop schema {s} cascade', names)
    this.#schemas.add(s)
    await this.#do('create schema {s}; grant all on schema {s} to public', names)
    if (script.setup.length === 0) return
    // Through the pooler: of what is made beside it, it hears some seconds later only.
    const maker = await WireClient.connect({ ...this.options(false), timeout: LIMIT_MS })
    const text = script.setup.join('; ')
    const { error } = await maker.query(bytesOf(text, names).toString())
    await maker.end()
    if (error !== null) throw new Error(`${text}: ${error.message}`)
  }

  async #do(text: string, names: Names): Promise<void> {
    const { error } = await this.#beside.query(bytesOf(text, names).toString())
    if (error !== null) throw new Error(`${text}: ${error.message}`)
  }
}
