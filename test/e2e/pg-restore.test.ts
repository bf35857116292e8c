// A whole database dumped and restored through transaction mode, while others work on the same pools: the
// copy is dumped like the original, and nobody else's search_path is touched, which these programs set to
// nothing for their session. They need a Postgres that is not newer than they are.
import assert from 'node:assert/strict'
import { existsSync } from 'node:fs'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, suite, type TestContext, test } from 'node:test'
import { setTimeout as pause } from 'node:timers/promises'
import { stage, through } from '../support/compare.ts'
import { getPostgres, notRun } from '../support/postgres.ts'
import { findProgram, runProgram } from '../support/programs.ts'
import { WireClient } from '../support/wire-client.ts'

const TABLES = process.env.LONG === '1' ? 2000 : 60
/** Each of so many tables has triggers, policies and the like. */
const SHARE = 4
const LIMIT = 600_000
/** ms between two questions of somebody who watches. */
const PAUSE_MS = 5
const ROLES = ['app_owner', 'app_reader', 'app_writer']

const program = findProgram('pg_dump')
const words = program === null ? '' : (await runProgram(program, ['--version'])).stdout
const major = /(\d+)/.exec(words)?.[1]
// Debian's own server has the version of Debian's own programs.
const binaries = `/usr/lib/postgresql/${major}`
if (!process.env.PGMUX_TEST_BINARIES && existsSync(`${binaries}/bin/postgres`))
  process.env.PGMUX_TEST_BINARIES = binaries

const postgres = await getPostgres()
const { pooler } = await stage(postgres, 'transaction', { pool: { size: 2 } })
const folder = await mkdtemp(join(tmpdir(), 'pgmux-restore-'))
after(() => rm(folder, { recursive: true, force: true }))

/** One of so many tables in one of four schemas. */
function table(i: number): string {
  const schema = `area_${i % 4}`
  const name = `${schema}.item_${i}`
  const parent = i < 4 ? '' : `, parent int references ${schema}.item_${i - 4}`
  return `
    create table ${name} (id serial primary key, name text not null default 'n', born date${parent});
    insert into ${name} (name, born) select 'row ' || n, '2000-01-01'::date + n from generate_series(1, 5) n;
    ${i % SHARE === 0 ? more(i, schema, name) : ''}`
}

/** What every so many tables have beside themselves. */
function more(i: number, schema: string, name: string): string {
  return `
    create index on ${name} (born, lower(name));
    create function ${schema}.touch_${i}() returns trigger language plpgsql as
      $$ begin new.name := new.name || '${i}'; return new; end $$;
    create trigger touches before insert on ${name} for each row execute function ${schema}.touch_${i}();
    create view ${schema}.shown_${i} as select id, name from ${name} where born is not null;
    create sequence ${schema}.numbers_${i} increment by ${(i % 7) + 1} start ${i + 1};
    alter table ${name} owner to app_owner;
    alter table ${name} enable row level security;
    create policy own_${i} on ${name} to app_reader using (name = current_setting('app.tenant', true));
    grant select on ${name} to app_reader; grant insert, update on ${name} to app_writer;
    comment on table ${name} is 'table ${i}';
    insert into ${name} (name, born) values ('row through the trigger', '2001-01-01');
    select setval('${schema}.numbers_${i}', ${i * 10 + 10})`
}

const SCHEMA = [
  ...ROLES.map((role) => `create role ${role}`),
  ...[0, 1, 2, 3].map((i) => `create schema area_${i} authorization app_owner`),
  "create type area_0.mood as enum ('good', 'bad'); create domain area_1.positive as int check (value > 0)",
  `create function area_2.twice(int) returns int language sql immutable as $$ select $1 * 2 $$;
   create table area_2.doubled (a int, b int generated always as (area_2.twice(a)) stored);
   insert into area_2.doubled select i from generate_series(1, 100) i`,
  'create materialized view area_3.counted as select count(*) from area_2.doubled',
  ...Array.from({ length: TABLES }, (_, i) => table(i)),
]

function missing(t: TestContext): boolean {
  const old = `pg_dump ${major} is older than Postgres ${postgres.major}`
  const reason = program === null ? 'pg_dump is not installed' : Number(major) < postgres.major && old
  if (reason !== false) notRun(t, reason)
  return reason !== false
}

/** One program on a database: directly or through the pooler. @returns what it printed */
async function run(
  name: string,
  database: string,
  args: string[],
  at: { host: string; port: number } = pooler,
): Promise<string> {
  const env = {
    PGHOST: at.host,
    PGPORT: String(at.port),
    PGUSER: postgres.user,
    PGPASSWORD: postgres.password,
    PGDATABASE: database,
  }
  const { code, stdout, stderr } = await runProgram(name, args, { env, limit: LIMIT })
  assert.deepEqual([code, stderr], [0, ''], name)
  return stdout
}

/** The whole database as text, past the pooler. */
async function dumpOf(database: string): Promise<string> {
  const text = await run('pg_dump', database, ['--no-sync'], postgres)
  // Newer versions mark a dump with words of chance.
  return text.replace(/^\\(un)?restrict .*$/gm, '')
}

/** Somebody else on the pool of this database, who asks for its own search_path and role again and again. */
class Bystander {
  readonly #client: WireClient
  readonly #path: string
  #goesOn = true
  #rounds = 0
  #wrong: unknown = null
  readonly #work: Promise<void>

  private constructor(client: WireClient, path: string) {
    this.#client = client
    this.#path = path
    this.#work = this.#ask().catch((error) => {
      this.#wrong = error
    })
  }

  static async start(database: string, own: string | null): Promise<Bystander> {
    const client = await WireClient.connect(through(pooler, postgres, { database }))
    if (own !== null) await client.query(`set search_path = ${own}`)
    return new Bystander(client, own ?? '"$user", public')
  }

  async #ask(): Promise<void> {
    while (this.#goesOn) {
      const { rows, error } = await this.#client.query(
        "select current_setting('search_path'), current_setting('row_security'), current_user",
      )
      assert.equal(error, null)
      assert.deepEqual(rows, [[this.#path, 'on', postgres.user]])
      this.#rounds++
      await pause(PAUSE_MS)
    }
  }

  /** @throws what it met */
  async stop(): Promise<void> {
    this.#goesOn = false
    await this.#work
    await this.#client.end()
    if (this.#wrong !== null) throw this.#wrong
    assert.ok(this.#rounds > 10, `${this.#rounds} rounds`)
  }
}

/** Runs it while two clients of each database watch what is theirs. */
async function watched(databases: readonly string[], work: () => Promise<unknown>): Promise<void> {
  const paths = ['area_1, public', null]
  const asked = databases.flatMap((name) => paths.map((path) => Bystander.start(name, path)))
  const bystanders = await Promise.all(asked)
  const done = await Promise.allSettled([work()])
  const ends = await Promise.allSettled(bystanders.map((bystander) => bystander.stop()))
  for (const end of [...ends, ...done]) if (end.status === 'rejected') throw end.reason
}

suite(`a database of ${TABLES} tables through two servers`, () => {
  let expected = ''

  test('is dumped as it is dumped directly', async (t) => {
    if (missing(t)) return
    await using client = await WireClient.connect({ ...postgres })
    for (const sql of SCHEMA) assert.equal((await client.query(sql)).error, null, sql)
    expected = await dumpOf(postgres.database)
    assert.equal(expected.match(/^CREATE TABLE /gm)?.length, TABLES + 1)
    assert.equal(expected.match(/^CREATE POLICY /gm)?.length, TABLES / SHARE)
    await watched([postgres.database], async () => {
      await run('pg_dump', postgres.database, ['--no-sync', '-Fc', '-f', join(folder, 'custom')])
      await run('pg_dump', postgres.database, ['--no-sync', '-f', join(folder, 'plain.sql')])
    })
  })

  test('pg_restore makes the same again', async (t) => {
    if (missing(t)) return
    await postgres.admin('create database copied')
    await watched(['copied'], () => run('pg_restore', 'copied', ['-d', 'copied', join(folder, 'custom')]))
    assert.equal(await dumpOf('copied'), expected)
  })

  test('psql with the text of the dump makes the same again', async (t) => {
    if (missing(t)) return
    await postgres.admin('create database read_in')
    const args = ['-X', '-q', '-v', 'ON_ERROR_STOP=1', '-o', '/dev/null', '-f', join(folder, 'plain.sql')]
    await watched(['read_in'], () => run('psql', 'read_in', args))
    assert.equal(await dumpOf('read_in'), expected)
  })
})
