// Owns: running one script on a direct connection and through poolers, and holding the transcripts against
// each other. Must never relax a comparison: what differs for a client differs here.
import assert from 'node:assert/strict'
import { after } from 'node:test'
import * as m from './messages.ts'
import { type Overrides, startPooler, type TestPooler } from './pooler.ts'
import type { TestPostgres } from './postgres.ts'
import { normalise } from './transcript.ts'
import { type ClientOptions, WireClient } from './wire-client.ts'

/** What a client does. `rival` lets another client use the pool; call it only outside a transaction. */
export type Script = (client: WireClient, rival: () => Promise<void>) => Promise<void>

/** A named pooler to compare with the direct connection. */
export interface Stage {
  readonly name: string
  readonly pooler: TestPooler
}

/** Connection options for a Postgres of the tests. */
export function direct(postgres: TestPostgres, extra: ClientOptions = {}): ClientOptions {
  const { host, port, user, password, database } = postgres
  return { host, port, user, password, database, ...extra }
}

/** The same account through a pooler. */
export function through(
  pooler: TestPooler,
  postgres: TestPostgres,
  extra: ClientOptions = {},
): ClientOptions {
  return { ...direct(postgres, extra), host: pooler.host, port: pooler.port }
}

/** A pooler that stops with the file. */
export async function stage(postgres: TestPostgres, name: string, overrides: Overrides = {}): Promise<Stage> {
  const pooler = await startPooler(postgres.url, overrides)
  after(() => pooler.stop())
  return { name, pooler }
}

/** Transaction mode with a pool of one and of two. */
export async function transactionStages(postgres: TestPostgres): Promise<Stage[]> {
  const one = await stage(postgres, 'transaction mode, 1 server', { pool: { mode: 'transaction', size: 1 } })
  const two = await stage(postgres, 'transaction mode, 2 servers', { pool: { mode: 'transaction', size: 2 } })
  return [one, two]
}

/** All that a client receives while it runs the script on a connection of its own, the login included. */
export async function transcriptOf(
  options: ClientOptions,
  script: Script,
  rival?: WireClient,
): Promise<string[]> {
  await using client = await WireClient.connect(options)
  await script(client, async () => {
    if (rival !== undefined) await disturb(rival)
  })
  return normalise(client.received)
}

/** Asserts that the script sees on each stage what it sees on a direct connection. */
export async function assertSame(
  postgres: TestPostgres,
  stages: readonly Stage[],
  script: Script,
  extra: ClientOptions = {},
): Promise<void> {
  const expected = await on('a direct connection', transcriptOf(direct(postgres, extra), script))
  for (const { name, pooler } of stages) {
    await using rival = await WireClient.connect(through(pooler, postgres))
    const actual = await on(name, transcriptOf(through(pooler, postgres, extra), script, rival))
    assert.deepEqual(actual, expected, name)
  }
}

/** Says in a failure where it happened. */
async function on<T>(name: string, run: Promise<T>): Promise<T> {
  try {
    return await run
  } catch (error) {
    throw new Error(`${name}: ${(error as Error).message}`, { cause: error })
  }
}

/** A hostile neighbour: the usual statement names with other texts, the unnamed statement, settings. */
async function disturb(rival: WireClient): Promise<void> {
  for (const name of ['s1', 's2']) {
    const parsed = m.parse(`select 'rival ${name}'`, { name })
    await rival.run(m.close('S', name), parsed, m.sync())
  }
  await rival.query("set application_name = 'rival'; set datestyle = 'SQL, DMY'; set timezone = 'Asia/Tokyo'")
  await rival.run(m.parse("select 'rival, unnamed'"), m.bind(), m.execute(), m.sync())
}
