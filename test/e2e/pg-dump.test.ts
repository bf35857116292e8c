// pg_dump and pg_restore as they are on this machine, through poolers: what they write and read is what they
// write and read on a direct connection. They need a Postgres that is not newer than they are.
import assert from 'node:assert/strict'
import { existsSync } from 'node:fs'
import { suite, type TestContext, test } from 'node:test'
import { stage } from '../support/compare.ts'
import { getPostgres, notRun } from '../support/postgres.ts'
import { findProgram, runProgram } from '../support/programs.ts'

const dump = findProgram('pg_dump')
const major = dump === null ? '' : /(\d+)/.exec((await runProgram(dump, ['--version'])).stdout)?.[1]
// Debian's own server has the version of Debian's own programs.
const binaries = `/usr/lib/postgresql/${major}`
if (!process.env.PGMUX_TEST_BINARIES && existsSync(`${binaries}/bin/postgres`))
  process.env.PGMUX_TEST_BINARIES = binaries

const postgres = await getPostgres()
const session = await stage(postgres, 'session', { pool: { mode: 'session', size: 2 } })
const transaction = await stage(postgres, 'transaction', { pool: { size: 1 } })

const SCHEMA = `
  create table people (id serial primary key, name text not null, born date, unique (name));
  create index on people (born);
  create function age_of(people) returns int language sql stable as $$ select 7 $$;
  create function shout() returns trigger language plpgsql as $$ begin return new; end $$;
  create trigger shouts before insert on people for each row execute function shout();
  create view named as select name from people;
  create type mood as enum ('good', 'bad');
  create domain positive as int check (value > 0);
  create aggregate total(int) (sfunc = int4pl, stype = int, initcond = '0');
  create operator === (leftarg = int, rightarg = int, function = int4eq);
  insert into people (name, born) select 'name ' || i, '2000-01-01'::date + i from generate_series(1, 500) i;
  create role reader; grant select on people to reader;
  alter table people enable row level security; create policy all_of_them on people using (true)`

function missing(t: TestContext): boolean {
  const reason =
    dump === null
      ? 'pg_dump is not installed'
      : Number(major) < postgres.major && `pg_dump ${major} is older than Postgres ${postgres.major}`
  if (reason !== false) notRun(t, reason)
  return reason !== false
}

async function run(at: { host: string; port: number }, database = postgres.database): Promise<string> {
  const env = {
    PGHOST: at.host,
    PGPORT: String(at.port),
    PGUSER: postgres.user,
    PGPASSWORD: postgres.password,
    PGDATABASE: database,
  }
  const { code, stdout, stderr } = await runProgram(dump ?? '', ['--no-sync'], { env })
  assert.deepEqual([code, stderr], [0, ''])
  // Newer versions mark a dump with words of chance.
  return stdout.replace(/^\\(un)?restrict .*$/gm, '')
}

suite('pg_dump', () => {
  test('session mode: twice on the same servers, the same as direct', async (t) => {
    if (missing(t)) return
    for (const statement of SCHEMA.split(/;\n/)) await postgres.admin(statement)
    const expected = await run(postgres)
    assert.match(expected, /COPY public\.people/)
    for (let round = 0; round < 2; round++) assert.equal(await run(session.pooler), expected)
  })

  test('transaction mode: the same as direct', async (t) => {
    if (missing(t)) return
    const expected = await run(postgres)
    for (let round = 0; round < 2; round++) assert.equal(await run(transaction.pooler), expected)
  })
})
