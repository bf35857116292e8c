// psql as it is on this machine, direct and through poolers: the same text must come out. Must never filter
// what a user of psql would see, except the numbers of processes and ports.
import assert from 'node:assert/strict'
import { createHash } from 'node:crypto'
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, suite, type TestContext, test } from 'node:test'
import { stage } from '../support/compare.ts'
import { getPostgres, notRun } from '../support/postgres.ts'
import { findProgram, type Outcome, type RunOptions, runProgram } from '../support/programs.ts'
import { asleep } from '../support/waits.ts'

const psql = findProgram('psql')
const postgres = await getPostgres()
const transaction = await stage(postgres, 'transaction', { pool: { size: 2 } })
const session = await stage(postgres, 'session', { pool: { mode: 'session', size: 4 } })
const statement = await stage(postgres, 'statement', { pool: { mode: 'statement', size: 2 } })
const STAGES = { transaction, session, statement }
// There from the start, so that each run drops one and says the same.
await postgres.admin('create table items ()')
const folder = mkdtempSync(join(tmpdir(), 'pgmux-psql-'))
after(() => rmSync(folder, { recursive: true, force: true }))

type Where = 'direct' | keyof typeof STAGES

function run(where: Where, input: string, args: string[] = [], options: RunOptions = {}): Promise<Outcome> {
  const { host, port } = where === 'direct' ? postgres : STAGES[where].pooler
  const { user, password, database } = postgres
  const env = {
    PGHOST: host,
    PGPORT: String(port),
    PGUSER: user,
    PGPASSWORD: password,
    PGDATABASE: database,
    PGCONNECT_TIMEOUT: '10',
    PSQLRC: '/dev/null',
    PGAPPNAME: 'psql test',
  }
  return runProgram(psql ?? '', ['-X', '-v', 'VERBOSITY=verbose', ...args], {
    ...options,
    env,
    input,
    cwd: folder,
  })
}

/** Runs a script on all of them and compares; the file is made anew for each by the script itself. */
async function same(script: string, wheres: Where[], args: string[] = []): Promise<Outcome> {
  const direct = await run('direct', script, args)
  for (const where of wheres) {
    const pooled = await run(where, script, args)
    assert.equal(pooled.stdout, direct.stdout, `${where} mode, output`)
    assert.equal(pooled.stderr, direct.stderr, `${where} mode, errors`)
    assert.equal(pooled.code, direct.code)
  }
  return direct
}

function missing(t: TestContext): boolean {
  if (psql === null) notRun(t, 'psql is not installed')
  return psql === null
}

const TABLE = `
drop table if exists items;
create table items (id int primary key, name text not null, price numeric(10,2), made timestamptz);
insert into items select i, 'item ' || i, i * 1.5, '2024-02-03 04:05:06+00' from generate_series(1, 10) i;
`

suite('psql', () => {
  test('queries, formats and descriptions', async (t) => {
    if (missing(t)) return
    const script = `${TABLE}
select * from items order by id;
select null as empty, true as yes, array[1,2,3] as list, '{"a": 1}'::jsonb as doc;
select 'caf\u00e9 \u2603' as words;
select 1 \\gdesc
\\d items
\\dt
\\d+ items
\\dn
\\df pg_catalog.abs
\\du
\\x on
select * from items where id = 3;
select 1; select 2; select 3;
select count(*) from items \\gset
\\echo :count
\\encoding
\\encoding LATIN1
select 'caf\u00e9';
`
    const { stdout, code } = await same(script, ['transaction', 'session', 'statement'])
    assert.match(stdout, /item 10/)
    assert.match(stdout, /items_pkey/)
    assert.equal(code, 0)
  })

  test('transactions, savepoints, cursors and errors with their SQLSTATE', async (t) => {
    if (missing(t)) return
    const script = `${TABLE}
begin;
update items set price = 0 where id = 1;
savepoint a;
update items set price = null;
insert into items values (1, 'twice', 1, null);
select 'not now';
rollback to a;
select id, price from items where id < 3 order by id;
declare c cursor for select id from items order by id;
fetch 3 from c;
move 2 from c;
fetch all from c;
commit;
select price from items where id = 1;
select 1/0;
select * from nowhere;
selec 1;
do $$ begin raise notice 'a notice %', 1; raise warning 'a warning'; end $$;
begin; select 1; rollback;
commit;
\\set ON_ERROR_ROLLBACK on
begin;
select 1/0;
select 'goes on';
commit;
\\set FETCH_COUNT 3
select id from items order by id;
`
    const { stderr } = await same(script, ['transaction', 'session'])
    assert.match(stderr, /22012/)
    assert.match(stderr, /25P02/)
    assert.match(stderr, /a notice 1/)
  })

  test('one transaction for a whole file, and a file of commands in one query', async (t) => {
    if (missing(t)) return
    const single = `${TABLE} insert into items values (99, 'x', 1, null); select 1/0;`
    await same(single, ['transaction', 'session'], ['-1', '-v', 'ON_ERROR_STOP=1'])
    const list = ['-c', 'select 1; select 2', '-c', 'select 3']
    await same('', ['transaction', 'session', 'statement'], list)
  })

  test('statement mode refuses a transaction block and goes on', async (t) => {
    if (missing(t)) return
    const { stdout, stderr } = await run('statement', "begin;\nselect 'goes on';\n", ['-At'])
    assert.match(stderr, /0A000.*transaction blocks not allowed in statement pooling mode/)
    assert.equal(stdout, 'goes on\n')
  })

  test('\\copy out and in', async (t) => {
    if (missing(t)) return
    const rows = Array.from({ length: 20_000 }, (_, i) => `${i}\trow ${i} ${'x'.repeat(i % 100)}\n`).join('')
    writeFileSync(join(folder, 'in.tsv'), rows)
    const script = (out: string) => `
drop table if exists copied; create table copied (id int, name text);
\\copy copied from 'in.tsv'
\\copy (select * from copied order by id) to '${out}'
\\copy copied from program 'printf "1,a,b\\\\n"' with csv
select count(*), sum(length(name)) from copied;
copy copied from stdin;
77	seven
\\.
copy (select * from copied where id = 77 order by name) to stdout;
`
    for (const where of ['direct', 'transaction', 'session', 'statement'] as const) {
      const { stdout, stderr } = await run(where, script('out.tsv'), ['-At'])
      assert.equal(readFileSync(join(folder, 'out.tsv'), 'utf8'), rows, where)
      assert.match(stderr, /extra data after last expected column/)
      assert.match(stdout, /^20000\|/m)
      assert.match(stdout, /^77\tseven$/m)
    }
  })

  test('a result of 100 MB', async (t) => {
    if (missing(t)) return
    const sql = 'select i, repeat(chr(97 + i % 26), 1000) from generate_series(1, 100000) i'
    const digests: string[] = []
    for (const where of ['direct', 'transaction'] as const) {
      const hash = createHash('sha256')
      let bytes = 0
      const onOutput = (piece: Buffer) => {
        bytes += piece.length
        hash.update(piece)
      }
      await run(where, '', ['-At', '-c', sql], { onOutput, discard: true })
      assert.ok(bytes > 100_000_000, `${where}: ${bytes} bytes`)
      digests.push(hash.digest('hex'))
    }
    assert.equal(digests[1], digests[0])
  })

  test('Ctrl-C cancels what runs, and the session goes on', async (t) => {
    if (missing(t)) return
    for (const where of ['transaction', 'session', 'statement'] as const) {
      const input = "\\echo started\nselect pg_sleep(30);\nselect 'goes on';\n"
      let interrupt = () => {}
      const started = performance.now()
      const ended = run(where, input, ['-At'], {
        onStart: (child) => {
          interrupt = () => child.kill('SIGINT')
        },
      })
      await asleep(postgres)
      interrupt()
      const { stdout, stderr } = await ended
      assert.match(stderr, /57014/, where)
      // psql stops a script at an interrupt: that nothing else ran is its own doing.
      assert.ok(performance.now() - started < 20_000)
      assert.match(stdout, /started/)
      const next = await run(where, 'select 1;', ['-At'])
      assert.equal(next.stdout, '1\n')
    }
  })

  test('LISTEN and NOTIFY', async (t) => {
    if (missing(t)) return
    const script =
      "listen a;\nnotify a, 'hello';\nselect 1;\nunlisten a;\nnotify a, 'not heard';\nselect 2;\n"
    for (const place of ['session', 'transaction'] as const) {
      const { stdout } = await run(place, script, ['-At'])
      assert.match(stdout, /Asynchronous notification "a" with payload "hello" received/, place)
      assert.doesNotMatch(stdout, /not heard/, place)
    }
  })

  test('a terminated server takes a session with it, of a pooled one only the statement', async (t) => {
    if (missing(t)) return
    const kill = 'select pg_terminate_backend(pg_backend_pid());\nselect 42;\n'
    const { stderr, code } = await same(kill, ['session'], ['-At'])
    assert.match(stderr, /FATAL: {2}57P01/)
    assert.equal(code, 2)
    const pooled = await run('transaction', kill, ['-At'])
    assert.match(pooled.stderr, /ERROR: {2}57P01/)
    assert.match(pooled.stdout, /^42$/m)
    const inside = await run('transaction', `begin;\n${kill}`, ['-At'])
    assert.match(inside.stderr, /FATAL: {2}57P01/)
    assert.equal(inside.code, 2)
  })

  test('a wrong password and an unknown database are told in one line', async (t) => {
    if (missing(t)) return
    const wrong = await run('transaction', '', ['-c', 'select 1', 'password=wrong'])
    assert.equal(wrong.code, 2)
    assert.match(wrong.stderr, /FATAL: {2}password authentication failed for user "postgres"/)
    const stranger = await run('transaction', '', ['-U', 'nobody', '-c', 'select 1'])
    assert.equal(stranger.code, 2)
    assert.match(stranger.stderr, /FATAL: {2}password authentication failed for user "nobody"/)
  })
})
