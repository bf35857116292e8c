// Owns: running the program of a driver (test/e2e/drivers/README.md) directly and through poolers in all
// modes, two programs at once, and holding what they saw against each other. Must never accept a
// step that a program left out, and never two different answers.
import assert from 'node:assert/strict'
import { createHash } from 'node:crypto'
import { suite, type TestContext, test } from 'node:test'
import { isDeepStrictEqual } from 'node:util'
import pg from 'pg'
import { type Stage, stage } from './compare.ts'
import type { Command } from './driver-programs.ts'
import { getPostgres, notRun, type TestPostgres } from './postgres.ts'
import { runProgram } from './programs.ts'

export interface Driver {
  readonly name: string
  readonly command: Command
  /** Steps that the driver does not have. */
  readonly absent?: readonly Step[]
  /** Steps of single statements that it wraps into transactions: not for statement mode. */
  readonly needsTransaction?: readonly Step[]
  /** What it shows instead of the usual, on a direct connection as well. */
  readonly shows?: Partial<Record<Step, unknown>>
  readonly env?: Readonly<Record<string, string>>
  /** Where it is run unless LONG is set, if not everywhere: for further ways to use a driver. */
  readonly places?: readonly PlaceName[]
}

const ONE = [
  'connect',
  'types',
  'params',
  'errors',
  'prepared',
  'pipeline',
  'copy',
  'cancel',
  'ddl',
  'listen',
]
const BLOCKS = ['transaction', 'savepoints', 'failed', 'prepared_tx', 'cursor', 'pool', 'timeout']
const STEPS = [...ONE, ...BLOCKS, 'reconnect']
/** Slow, so not everywhere. */
const LONG = [...STEPS, 'large']
type Step = string
type PlaceName = 'one' | 'two' | 'session' | 'statement'

type Saw = Readonly<Record<Step, unknown>>
/** Where two programs run; `at` null: directly. */
interface Place {
  at: Stage | null
  steps: readonly Step[]
  database: string
  isStatementMode?: boolean
}
const CLIENTS = ['a', 'b'] as const
type Who = (typeof CLIENTS)[number]

const ROWS = 200
const ROW_BYTES = 100_000

/** Tests of several drivers with one Postgres. */
export async function testDrivers(drivers: readonly Driver[]): Promise<void> {
  const postgres = await getPostgres()
  const one = await stage(postgres, 'transaction mode, 1 server', { pool: { size: 1 } })
  const two = await stage(postgres, 'transaction mode, 2 servers', { pool: { size: 2 } })
  const session = await stage(postgres, 'session mode', { pool: { mode: 'session', size: 10 } })
  const statement = await stage(postgres, 'statement mode', { pool: { mode: 'statement', size: 2 } })
  // Each has a database of its own, so that two of them can run at once: programs wait more than they work.
  const places: Place[] = [
    { at: one, steps: LONG, database: 'one' },
    { at: two, steps: STEPS, database: 'two' },
    { at: session, steps: LONG, database: 'session' },
    { at: statement, steps: [...ONE, 'reconnect'], database: 'statement', isStatementMode: true },
  ]
  for (const { database } of places) await postgres.admin(`create database ${database}`)
  for (const driver of drivers) {
    const isIn = ({ database }: Place) => driver.places?.includes(database as PlaceName) ?? true
    testDriver(postgres, driver, process.env.LONG ? places : places.filter(isIn))
  }
}

function testDriver(postgres: TestPostgres, driver: Driver, places: readonly Place[]): void {
  suite(driver.name, { concurrency: 2 }, () => {
    let direct: Promise<Record<Who, Saw>> | null = null
    const directly = () => {
      direct ??= runBoth(postgres, driver, { at: null, steps: LONG, database: postgres.database })
      return direct
    }
    test('directly: sees what Postgres is known to answer', async (t) => {
      if (missing(t, driver)) return
      const saw = await directly()
      for (const who of CLIENTS) assertKnown(driver, who, saw[who])
    })
    for (const place of places) {
      test(`${place.at?.name}: two clients at once see what they see directly`, async (t) => {
        if (missing(t, driver)) return
        const expected = await directly()
        const left = place.isStatementMode ? (driver.needsTransaction ?? []) : []
        const steps = place.steps.filter((step) => !left.includes(step))
        const pooled = await runBoth(postgres, driver, { ...place, steps })
        for (const who of CLIENTS) {
          for (const step of steps) {
            assertLike(`client ${who}, ${step}`, pooled[who][step], expected[who][step])
          }
        }
      })
    }
  })
}

/**
 * Equal, or better: a read that a direct connection refuses because the table has changed may show what is
 * there, and a statement that took its process of Postgres with it may say so where the driver could not.
 */
function assertLike(what: string, pooled: unknown, direct: unknown): void {
  const isDdl = what.endsWith('ddl') && Array.isArray(direct) && Array.isArray(pooled)
  if (isDdl)
    assert.deepEqual(
      pooled,
      direct.map((saw, i) => (saw === '0A000' && pooled[i] === 2 ? 2 : saw)),
      what,
    )
  else if (what.endsWith('reconnect') && isDeepStrictEqual(pooled, ['57P01', 1])) return
  else assert.deepEqual(pooled, direct, what)
}

function missing(t: TestContext, { command }: Driver): boolean {
  if (!('missing' in command)) return false
  notRun(t, command.missing)
  return true
}

async function runBoth(postgres: TestPostgres, driver: Driver, place: Place): Promise<Record<Who, Saw>> {
  const setup = CLIENTS.map(
    (who) => `drop table if exists items_${who}, shape_${who}; drop type if exists mood_${who};
      create table items_${who} (id int primary key, body text); create table shape_${who} (id int);
      insert into shape_${who} values (1); create type mood_${who} as enum ('fine', 'bad');`,
  )
  const admin = new pg.Client({ ...addressOf(postgres, null), database: place.database })
  await admin.connect()
  await admin.query(setup.join('\n')).finally(() => admin.end())
  const [a, b] = await Promise.all(CLIENTS.map((who) => run(postgres, driver, { ...place, who })))
  return { a: a!, b: b! }
}

function addressOf({ host, port, user, password }: TestPostgres, at: Stage | null) {
  return { user, password, host: at?.pooler.host ?? host, port: at?.pooler.port ?? port }
}

async function run(postgres: TestPostgres, driver: Driver, place: Place & { who: Who }): Promise<Saw> {
  if ('missing' in driver.command) throw new Error(driver.command.missing)
  const { program, args } = driver.command
  const { steps, who, at, database } = place
  const { host, port, user, password } = addressOf(postgres, at)
  const { code, stdout, stderr } = await runProgram(program, args, {
    env: {
      ...driver.env,
      PGHOST: host,
      PGPORT: `${port}`,
      PGUSER: user,
      PGPASSWORD: password,
      PGDATABASE: database,
      WHO: who,
      STEPS: steps.join(','),
      NO_COLOR: '1',
    },
  })
  const lines = stdout.split('\n').filter((line) => line !== '')
  assert.equal(
    code,
    0,
    `client ${who} after ${lines.length} steps (${lines.at(-1)?.slice(0, 200)}): ${stderr}`,
  )
  const seen = lines.map((line) => JSON.parse(line) as { step: Step; saw: unknown })
  assert.deepEqual(
    seen.map(({ step }) => step),
    steps,
  )
  return Object.fromEntries(seen.map(({ step, saw }) => [step, saw]))
}

/** The answers that do not depend on the driver. */
function assertKnown({ absent = [], shows = {} }: Driver, who: Who, saw: Saw): void {
  const expected = known(who)
  for (const step of LONG) {
    if (absent.includes(step)) assert.equal(saw[step], 'absent', step)
    else if (step in shows) assert.deepEqual(saw[step], shows[step], step)
    else if (step in expected) assert.deepEqual(saw[step], expected[step], step)
    else assert.ok(Array.isArray(saw[step]) && saw[step].length >= 4, `${step}: ${JSON.stringify(saw[step])}`)
  }
}

function known(who: Who): Record<Step, unknown> {
  const prepared = Array.from({ length: 40 }, (_, i) => `${who} ${i >> 1} ${i % 2 === 0 ? 'one' : 'two'}`)
  return {
    connect: ['postgres', 'UTF8', `e2e ${who}`],
    params: ['caf\u00e9 \u2603 \\ \' " $1 %s', null, 5050],
    errors: ['23505', '42P01', '22012', 1],
    prepared,
    pipeline: [Array.from({ length: 10 }, (_, i) => `${who} ${i}`), '22012', 1],
    copy: [5000, md5(Array.from({ length: 5000 }, (_, i) => `${i}\t${who} row ${i}\n`)), '22P02', 1],
    large: LARGE,
    cancel: ['57014', 1],
    transaction: [1, 1, true],
    savepoints: ['23505', [1, 3]],
    failed: ['22012', '25P02', 1],
    prepared_tx: prepared,
    cursor: [[100, 100, 50], 31_375],
    pool: 60,
    timeout: ['57014', '57014', 1],
    reconnect: ['57P01', 1],
    listen: `news for ${who}`,
  }
}

const LARGE = [
  [ROWS, md5(Array.from({ length: ROWS }, (_, i) => String.fromCharCode(97 + (i % 26)).repeat(ROW_BYTES)))],
  [ROWS * ROW_BYTES, md5(['x'.repeat(ROWS * ROW_BYTES)])],
]

function md5(pieces: readonly string[]): string {
  const hash = createHash('md5')
  for (const piece of pieces) hash.update(piece)
  return hash.digest('hex')
}
