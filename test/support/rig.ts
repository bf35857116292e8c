// Owns: a Postgres, a pooler in front of it and an observer beside them, and the questions that tests of
// leaving clients and lost servers ask again and again. Must never look inside the pooler for what Postgres
// can tell.
import assert from 'node:assert/strict'
import { after } from 'node:test'
import { setTimeout as pause } from 'node:timers/promises'
import { direct, through } from './compare.ts'
import { type Certificate, Gate } from './gate.ts'
import { type Overrides, startPooler, type TestPooler } from './pooler.ts'
import type { TestPostgres } from './postgres.ts'
import { type ClientOptions, WireClient } from './wire-client.ts'

/** Between two looks at something that tells no event. */
const LOOK_MS = 10
/** In the name of each server connection of a pooler, so that observers do not count themselves. */
const OBSERVER = 'observer of the tests'

/** Resolves when `check` no longer throws or returns false. @throws its last error after `limitMs` */
export async function eventually<T>(check: () => Promise<T> | T, limitMs = 5000): Promise<T> {
  const until = performance.now() + limitMs
  for (;;) {
    try {
      const value = await check()
      if (value !== false || performance.now() > until) {
        assert.notEqual(value, false, `not true within ${limitMs} ms`)
        return value
      }
    } catch (error) {
      if (performance.now() > until) throw error
    }
    await pause(LOOK_MS)
  }
}

export class Rig {
  readonly postgres: TestPostgres
  readonly test: TestPooler
  readonly #observer: WireClient
  #isStopped = false

  private constructor(postgres: TestPostgres, test: TestPooler, observer: WireClient) {
    this.postgres = postgres
    this.test = test
    this.#observer = observer
  }

  /** A pooler in front of `postgres` (or of what `url` names); stopped with the file, suite or test. */
  static async start(postgres: TestPostgres, overrides: Overrides = {}, url = postgres.url): Promise<Rig> {
    const pooler = await startPooler(url, overrides)
    const observer = await WireClient.connect(direct(postgres, { params: { application_name: OBSERVER } }))
    const rig = new Rig(postgres, pooler, observer)
    after(() => rig.stop())
    return rig
  }

  async stop(): Promise<void> {
    if (this.#isStopped) return
    this.#isStopped = true
    await this.test.stop()
    await this.#observer.end()
  }

  /** A client of the pooler. */
  client(extra: ClientOptions = {}): Promise<WireClient> {
    return WireClient.connect(through(this.test, this.postgres, extra))
  }

  /** A connection to the pooler that has said nothing yet. */
  stranger(extra: ClientOptions = {}): Promise<WireClient> {
    return WireClient.open(through(this.test, this.postgres, extra))
  }

  /** A client of Postgres itself. */
  direct(extra: ClientOptions = {}): Promise<WireClient> {
    return WireClient.connect(direct(this.postgres, { params: { application_name: OBSERVER }, ...extra }))
  }

  /** Rows of a statement that runs beside the pooler. */
  async see(sql: string): Promise<(string | null)[][]> {
    const { rows, error } = await this.#observer.query(sql)
    assert.equal(error, null)
    return rows
  }

  /** One value of a statement that runs beside the pooler. */
  async value(sql: string): Promise<string | null> {
    return (await this.see(sql))[0]?.[0] ?? null
  }

  /** The server processes of the pooler: number, state, what it waits for, statement. */
  backends(where = 'true'): Promise<(string | null)[][]> {
    return this.see(
      `select pid, state, wait_event, query from pg_stat_activity
         where backend_type in ('client backend', 'walsender') and application_name <> '${OBSERVER}'
           and pid <> pg_backend_pid() and ${where} order by pid`,
    )
  }

  /** Resolves when a server process of the pooler runs a statement like this. @returns its number */
  async running(like: string): Promise<number> {
    const pattern = like.replaceAll("'", "''")
    return eventually(async () => {
      const [found] = await this.backends(`state = 'active' and query like '${pattern}'`)
      return found !== undefined && Number(found[0])
    }) as Promise<number>
  }

  /**
   * Resolves when all server processes of the pooler are idle outside a transaction. @returns their numbers
   */
  async quiet(limitMs = 5000): Promise<number[]> {
    return eventually(async () => {
      const rows = await this.backends()
      assert.deepEqual(
        rows.filter(([, state]) => state !== 'idle'),
        [],
      )
      assert.equal(this.test.pooler.gauges().servers.active, 0)
      return rows.map(([pid]) => Number(pid))
    }, limitMs)
  }

  /** The pid of the server on which a client's statement runs. */
  async pidOf(client: WireClient): Promise<number> {
    const { rows, error } = await client.query('select pg_backend_pid()')
    assert.equal(error, null)
    return Number(rows[0]?.[0])
  }

  /**
   * A fresh client works, outside a transaction, on a server without anybody's state. @returns the server's
   * pid
   */
  async healthy(): Promise<number> {
    await using client = await this.client()
    const { rows, error, status } = await client.query(
      'select pg_backend_pid(), pg_current_xact_id_if_assigned()',
    )
    assert.equal(error, null)
    assert.equal(status, 'I')
    assert.equal(rows[0]?.[1], null)
    return Number(rows[0]?.[0])
  }
}

/** A rig whose pooler reaches Postgres through a gate. */
export async function gated(
  postgres: TestPostgres,
  overrides: Overrides,
  tls: Certificate | null = null,
): Promise<[Gate, Rig]> {
  const gate = await Gate.open(postgres, tls)
  after(() => gate.close())
  return [gate, await Rig.start(postgres, overrides, gate.url(postgres.url))]
}

/** Something that waits until the caller opens it. */
export function latch(): { opened: Promise<void>; open: () => void } {
  const { promise, resolve } = Promise.withResolvers<void>()
  return { opened: promise, open: resolve }
}
