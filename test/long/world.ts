// Owns: what stands around the pgmux under test: Postgres with a database and a user for each mode, the proxy
// in front of it, and questions asked past pgmux. Must never ask pgmux what Postgres can tell.
import assert from 'node:assert/strict'
import { join } from 'node:path'
import { CREATE_LEDGER } from '../support/ledger.ts'
import { type PostgresControl, startPostgres, type TestPostgres } from '../support/postgres.ts'
import { TestProxy } from '../support/proxy.ts'
import { eventually } from '../support/rig.ts'
import { type ClientOptions, WireClient } from '../support/wire-client.ts'
import type { Settings } from './subject.ts'

export type Mode = 'transaction' | 'session' | 'statement'

/** A database and its only user: one pool. */
export interface Place {
  readonly mode: Mode
  /** Servers of the pool; a reload changes it. */
  size: number
  /** The largest that it was since the last look. */
  most: number
}

const PASSWORD = 'known to both sides'
/** Server processes of Postgres that are not ours. */
const SPARE = 20

/** A statement that must not be in the file: `pool.sizes` is no option. */
const BROKEN = 'pool:\n  sizes: 4\n  size: [not a number\n'

export class World {
  readonly postgres: TestPostgres
  readonly control: PostgresControl
  readonly proxy: TestProxy
  readonly places: readonly Place[]
  /** Of the process that is tested. */
  port = 0

  private constructor(postgres: TestPostgres, proxy: TestProxy, places: readonly Place[]) {
    this.postgres = postgres
    this.control = postgres.control as PostgresControl
    this.proxy = proxy
    this.places = places
  }

  /** @throws where there is no Postgres that may be stopped and killed */
  static async create(): Promise<World> {
    const places = (['transaction', 'session', 'statement'] as const).map((mode) => ({
      mode,
      size: 5,
      most: 5,
    }))
    const connections = places.reduce((sum, { size }) => sum + 2 * size, SPARE)
    const postgres = await startPostgres({
      // What Postgres has acknowledged must be there after its crash.
      settings: { synchronous_commit: 'on', max_connections: String(connections) },
    })
    if (postgres.control === null) {
      await postgres.stop()
      throw new Error(postgres.missing)
    }
    const proxy = await TestProxy.listen({ host: postgres.host, port: postgres.port })
    const world = new World(postgres, proxy, places)
    try {
      for (const { mode } of places) await world.#furnish(mode)
    } catch (error) {
      await world.stop()
      throw error
    }
    return world
  }

  async #furnish(mode: Mode): Promise<void> {
    await this.postgres.admin(`create role ${roleOf(mode)} login password '${PASSWORD}'`)
    await this.postgres.admin(`create database "${mode}" owner ${roleOf(mode)}`)
    await this.see(mode, CREATE_LEDGER)
    await this.see(mode, 'create table bulk (client int, nonce int, total int)')
  }

  /** The configuration file. */
  settings(folder: string, level = 'info'): Settings {
    const databases = this.places.map(({ mode, size }) => [
      mode,
      { host: '127.0.0.1', port: this.proxy.port, pool_mode: mode, pool_size: size },
    ])
    const users = this.places.map(({ mode }) => [roleOf(mode), { password: PASSWORD }])
    return {
      client: {
        abandon_grace: '200ms',
        tls: { mode: 'allow', cert_file: join(folder, 'server.crt'), key_file: join(folder, 'server.key') },
      },
      pool: {
        min_size: 1,
        max_prepared_statements: 30,
        prepared_memory: '256KiB',
        query_wait_timeout: '40s',
        server_lifetime: '90s',
        server_idle_timeout: '20s',
        server_check_delay: '2s',
      },
      log: { level },
      databases: Object.fromEntries(databases),
      users: Object.fromEntries(users),
      admin: { stats_users: roleOf('transaction') },
    }
  }

  /** A configuration file with mistakes in it. */
  get broken(): string {
    return BROKEN
  }

  /** What the console tells, when something has gone wrong. */
  async tellState(): Promise<void> {
    const at = { ...this.target('transaction'), database: 'pgmux', host: '127.0.0.1', port: this.port }
    await using client = await WireClient.connect(at)
    for (const command of ['show pools', 'show clients', 'show servers']) {
      console.log(command)
      for (const row of (await client.query(command)).rows) console.log(row.join(' | '))
    }
  }

  /** How a client of the pooler gets to the database of this mode. */
  target(mode: Mode): ClientOptions {
    const { port } = this
    return { port, user: roleOf(mode), password: PASSWORD, database: mode, timeout: 60_000 }
  }

  /** Past the pooler, as its own user. */
  direct(mode: Mode): Promise<WireClient> {
    const { host, port } = this.postgres
    return WireClient.connect({ ...this.target(mode), host, port })
  }

  /** Rows of a statement that the owner of this database runs past the pooler. */
  async see(mode: Mode, sql: string): Promise<Record<string, unknown>[]> {
    await using client = await this.direct(mode)
    const { rows, columns, error } = await client.query(sql)
    assert.equal(error, null, `${sql}: ${error?.message}`)
    return rows.map((row) => Object.fromEntries(columns.map((name, at) => [name, row[at]])))
  }

  /** The server processes of pgmux, as Postgres sees them. */
  async servers(): Promise<ServerProcess[]> {
    const rows = await this.postgres.admin(
      `select pid, datname as mode, state, xact_start is null as free, query from pg_stat_activity
         where backend_type = 'client backend' and usename = any($1)`,
      [this.places.map(({ mode }) => roleOf(mode))],
    )
    return rows as unknown as ServerProcess[]
  }

  /** Resolves when Postgres itself lets somebody in. */
  async reachable(): Promise<void> {
    await eventually(() => this.postgres.admin('select 1'), 30_000)
  }

  async stop(): Promise<void> {
    await this.proxy.close()
    await this.postgres.stop()
  }
}

export interface ServerProcess {
  readonly pid: number
  readonly mode: Mode
  readonly state: string
  /** No transaction is open. */
  readonly free: boolean
  readonly query: string
}

/** The only user of the database of this mode. */
function roleOf(mode: Mode): string {
  return `of_${mode}`
}
