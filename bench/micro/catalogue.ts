// What it costs to read what a database's functions can do, and to see that nothing has changed: a database
// with 5,000 functions, 2,000 tables with triggers and 500 views. CPU time of the Postgres process where
// /proc tells it (one core, so a busy machine does not count), else time on the clock. To be run by hand.

import { readFileSync } from 'node:fs'
import { Survey } from '../../src/sql/catalogue.ts'
import { surveyQuery } from '../../src/sql/catalogue-queries.ts'
import { startPostgres } from '../../test/support/postgres.ts'
import { WireClient } from '../../test/support/wire-client.ts'

const RUNS = 5
/** Of a tick of /proc, in ms. */
const TICK = 10

const BODY = `declare r record; total int := 0; begin
  -- ${'a comment with some words in it '.repeat(15)}
  for r in select * from tab_1 t join tab_2 u on u.id = t.parent
    where t.amount > a and u.note is not null loop
    total := total + coalesce(r.amount, 0)::int;
    if total > 1000 then
      update tab_3 set amount = amount - 1, note = b where id = r.id returning amount into total;
      insert into tab_4 (parent, amount, note) values (r.id, total, 'some text') on conflict do nothing;
    else perform fn_1(total, b);
    end if;
  end loop;
  return total;
exception when others then return null; end`

const SCRIPT = [
  `create function stamp() returns trigger language plpgsql as 'begin new.at := now(); return new; end';
  create type mood as enum ('a', 'b'); create domain short as text check (length(value) < 99)`,
  `do $do$ begin for i in 1..2000 loop execute format('
  create table tab_%1$s (id bigserial primary key, parent bigint references tab_%2$s on delete cascade,
    amount numeric default 0 check (amount > -10), note text default ''x'', m mood, s short,
    at timestamptz default now(), c1 int, c2 int, c3 int, c4 int, c5 text, c6 text);
  create trigger t before insert on tab_%1$s for each row execute function stamp();
  create index on tab_%1$s (lower(note)); create index on tab_%1$s (parent)', i, greatest(i / 2, 1));
  if i % 100 = 0 then commit; end if; end loop; end $do$`,
  `do $do$ begin for i in 1..5000 loop execute format('
  create function fn_%s(a int, b text default lower(''X'')) returns int language plpgsql
  as $f$${BODY.replaceAll("'", "''")}$f$', i);
  if i % 100 = 0 then commit; end if; end loop; end $do$`,
  `do $do$ begin for i in 1..500 loop execute format('create view view_%1$s as select t.*, u.note as u_note,
    case when t.amount > 1 then fn_%1$s(t.c1) else t.c2 end as x
    from tab_%1$s t join tab_1 u on u.id = t.parent left join lateral (select count(*), max(at)
      from tab_2 z where z.parent = t.id and z.note like ''a'') q on true
    where t.c5 is not null and u.c6 in (''a'', ''b'')', i); end loop; end $do$`,
  'vacuum analyze',
]

const postgres = await startPostgres()
const { host, port, user, password, database, major } = postgres
const client = await WireClient.connect({ host, port, user, password, database, timeout: 300_000 })
try {
  for (const sql of SCRIPT) await rowsOf(sql)
  const [[pid]] = await rowsOf('select pg_backend_pid()')
  // Conditions come first; of the others each can be run alone.
  const [digest, names, links, routines] = surveyQuery(major).split(';\n').slice(1)
  const queries = { digest, names, links, routines }
  for (const [name, sql] of Object.entries(queries)) {
    const rows = await rowsOf(sql)
    const before = spent(pid!)
    for (let run = 0; run < RUNS; run++) await rowsOf(sql)
    console.log(`${name}: ${rows.length} rows, ${((spent(pid!) - before) / RUNS).toFixed(0)} ms`)
  }
  await survey(queries)
} finally {
  await client.end()
  await postgres.stop()
}

async function rowsOf(sql: string): Promise<(string | null)[][]> {
  const { rows, error } = await client.query(sql)
  if (error !== null) throw new Error(`${error.message}: ${sql.slice(0, 80)}`)
  return rows
}

async function survey(queries: Readonly<Record<'names' | 'links' | 'routines', string>>): Promise<void> {
  const names = await rowsOf(queries.names)
  const links = await rowsOf(queries.links)
  const routines = await rowsOf(queries.routines)
  const before = process.cpuUsage()
  for (let run = 0; run < RUNS; run++) {
    const all = new Survey()
    for (const row of [...names, ...links, ...routines]) all.add(row)
    all.finish()
  }
  const { user: used, system } = process.cpuUsage(before)
  const size = routines.reduce((sum, row) => sum + row[3]!.length, 0)
  console.log(`survey of ${(size / 1e6).toFixed(1)} MB: ${((used + system) / 1000 / RUNS).toFixed(0)} ms`)
}

/** ms that this process has computed, or that have passed. */
function spent(pid: string): number {
  try {
    const fields = readFileSync(`/proc/${pid}/stat`, 'latin1').split(') ')[1].split(' ')
    return (Number(fields[11]) + Number(fields[12])) * TICK
  } catch {
    return performance.now()
  }
}
