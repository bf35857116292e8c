// Owns: a pooler whose servers tests can take away and give back, so that reads share one exactly when a test
// wants it, and what tells that they did. Must never decide itself what may share.
import assert from 'node:assert/strict'
import type { Insight } from '../../src/backend/insight.ts'
import type { Server } from '../../src/backend/server.ts'
import type { PoolEntry } from '../../src/routing/pool-entry.ts'
import type { Shape } from '../../src/sql/shapes.ts'
import type { Overrides } from './pooler.ts'
import type { TestPostgres } from './postgres.ts'
import { Rig } from './rig.ts'
import { until } from './waits.ts'
import type { Result, WireClient } from './wire-client.ts'

/** A text is known after two times, and measured in a third. */
const ROUNDS = 4

/** One client's part in a round. */
export type Work = () => Promise<unknown>

export class SharingRig {
  readonly rig: Rig
  readonly size: number
  readonly #blockers: WireClient[] = []

  private constructor(rig: Rig, size: number) {
    this.rig = rig
    this.size = size
  }

  static async start(postgres: TestPostgres, size = 2, overrides: Overrides = {}): Promise<SharingRig> {
    const pool = { mode: 'transaction' as const, size, ...overrides.pool }
    // How long something took on a busy machine decides nothing.
    pool.sharing = { maxMs: 1000, depth: 100, ...pool.sharing }
    const sharing = new SharingRig(await Rig.start(postgres, { ...overrides, pool }), size)
    for (let at = 0; at < size; at++) sharing.#blockers.push(await sharing.rig.client())
    return sharing
  }

  client(...args: Parameters<Rig['client']>): Promise<WireClient> {
    return this.rig.client(...args)
  }

  clients(count: number): Promise<WireClient[]> {
    return Promise.all(Array.from({ length: count }, () => this.rig.client()))
  }

  /** The pool of the test's user. */
  get entry(): PoolEntry {
    const [entry] = this.rig.test.pooler.router.entries()
    assert.ok(entry)
    return entry
  }

  get insight(): Insight {
    const { pool } = this.entry
    const [server] = [...pool.active, ...pool.idle]
    assert.ok(server)
    return (server as Server).parts.insight
  }

  /** Exchanges that ran beside others so far. */
  get shared(): number {
    return this.entry.counters.shared
  }

  sentAgain(reason: string): number {
    return this.entry.counters.sentAgain.get([reason])
  }

  lanesShut(reason: string): number {
    return this.entry.counters.lanesShut.get([reason])
  }

  /** Takes all servers away. */
  async fill(): Promise<void> {
    for (const blocker of this.#blockers) {
      for (const lane of [...(this.entry.sharing?.lanes ?? [])]) lane.shut('calm')
      if (blocker.status !== 'T') assert.equal((await blocker.query('begin')).status, 'T')
    }
  }

  /** Gives some of them back. Whoever waits first is served first, if servers suit others better or not. */
  async free(count: number): Promise<void> {
    const { first } = this.entry.pool.waiting
    if (first !== null) first.passedOver = Number.MAX_SAFE_INTEGER
    const held = this.#blockers.filter(({ status }) => status === 'T')
    await Promise.all(held.slice(0, count).map((blocker) => blocker.query('rollback')))
  }

  /** All begin while no server is free; then `servers` are. */
  async together<T>(works: readonly (() => Promise<T>)[], servers = 1): Promise<T[]> {
    const before = this.entry.pool.waiting.size
    await this.fill()
    const all = works.map((work) => work())
    await this.waiting(before + works.length)
    await this.free(servers)
    try {
      return await Promise.all(all)
    } finally {
      await this.free(this.size)
    }
  }

  /** So many clients, or more, wait. */
  waiting(count: number): Promise<void> {
    return until(
      () => this.entry.pool.waiting.size >= count,
      () => `${this.entry.pool.waiting.size} of ${count} wait`,
      5000,
    )
  }

  /**
   * Statements of this kind come until they may share, or it is clear that they never will.
   * @param prepare comes first in each client, while servers are free
   */
  async warm(
    work: (client: WireClient) => Promise<Result>,
    prepare: (client: WireClient) => Promise<unknown> = async () => {},
  ): Promise<void> {
    for (let round = 0; round < ROUNDS; round++) {
      // One that is pinned takes its server along.
      await using client = await this.client()
      await prepare(client)
      await this.together([() => work(client)])
    }
  }

  /** As `Rig.quiet`, at once: a shared server rests for a while before it is given back. */
  async quiet(): Promise<void> {
    for (const lane of [...(this.entry.sharing?.lanes ?? [])]) lane.shut('calm')
    await this.rig.quiet()
  }

  shapes(like: string): Shape[] {
    return [...this.insight.shapes.all()].filter(({ text }) => text.includes(like))
  }

  /** What was found out about the only kind of text in which this stands. */
  shape(like: string): Shape {
    const found = this.shapes(like)
    assert.equal(found.length, 1, `${found.length} shapes with ${like}`)
    return found[0] as Shape
  }
}

/** The only value of an answer. */
export function onlyValue({ rows, error }: Result): string | null {
  assert.equal(error, null)
  assert.equal(rows.length, 1)
  return rows[0]?.[0] ?? null
}
