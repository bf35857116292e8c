// A session's state that changes behind a statement which names no function: it follows its client in
// transaction mode as it does on a connection of its own, and nobody else sees it.

import assert from 'node:assert/strict'
import { before, describe, it } from 'node:test'
import { assertSame, transactionStages } from '../support/compare.ts'
import * as m from '../support/messages.ts'
import { getPostgres } from '../support/postgres.ts'

const postgres = await getPostgres()
await postgres.admin(`
create function public.sets(v text) returns text language plpgsql as $$
  begin return set_config('app.tenant', v, false); end $$;
create function public.fires() returns trigger language plpgsql as $$
  begin perform sets(new.v); return new; end $$;
create table public.by_trigger (v text);
create trigger t before insert on public.by_trigger for each row execute function public.fires();
create table public.by_default (i int, v text default public.sets('default'));
create view public.by_view as select public.sets('view') as v;
create domain public.by_domain as text check (public.sets(value) is not null);
create procedure public.harmless() language plpgsql as 'begin perform 1; commit; end';
create procedure public.dynamic() language plpgsql as $$ begin execute 'set app.tenant = ''call'''; end $$`)
const stages = await transactionStages(postgres)

const STATEMENTS = [
  "insert into by_trigger values ('trigger')",
  'insert into by_default values (1)',
  'select * from by_view',
  "select 'domain'::by_domain",
  'call harmless()',
  'call dynamic()',
]

describe('what a statement changes without naming it', () => {
  before(() => assert.ok(stages.length > 0))

  for (const statement of STATEMENTS) {
    it(statement, () =>
      assertSame(postgres, stages, async (client, rival) => {
        await client.query("set app.tenant = 'before'")
        await rival()
        await client.query(statement)
        await rival()
        await client.query("select current_setting('app.tenant', true)")
        await client.extended(statement)
        await rival()
        await client.query("select current_setting('app.tenant', true)")
        await client.query(`begin; ${statement.startsWith('call') ? 'select 1' : statement}; rollback`)
        await rival()
        await client.query("select current_setting('app.tenant', true)")
      }),
    )
  }

  it('values of types that a Parse declares', async () => {
    await postgres.admin('create type public.pair as (a public.by_domain, b int)')
    const numberOf = async (type: string) =>
      Number((await postgres.admin(`select '${type}'::regtype::oid::int as oid`))[0].oid)
    const values = [
      [await numberOf('by_domain'), 'of a domain'],
      [await numberOf('by_domain[]'), '{in an array}'],
      [await numberOf('pair'), '("in a composite",1)'],
    ] as const
    await assertSame(postgres, stages, async (client, rival) => {
      for (const [type, value] of values) {
        for (const name of ['', `s${type}`]) {
          await client.query("set app.tenant = 'before'")
          await client.run(m.parse('select $1 is null', { types: [type], name }), m.sync())
          await rival()
          await client.run(m.bind({ statement: name, params: [value] }), m.execute(), m.sync())
          await rival()
          await client.query("select current_setting('app.tenant', true)")
        }
      }
      await client.query("prepare p (by_domain) as select $1 is null; execute p ('by PREPARE')")
      await rival()
      await client.query("select current_setting('app.tenant', true)")
    })
  })

  for (const made of ["view by_temp as select sets('temp')", "table by_temp (v text default sets('temp'))"]) {
    it(`temporary ${made}`, () =>
      assertSame(postgres, stages, async (client, rival) => {
        // It keeps its server meanwhile, which may be the only one.
        await client.query(`create temp ${made}`)
        await client.query("set app.tenant = 'before'")
        await client.query(
          made.startsWith('view') ? 'select * from by_temp' : 'insert into by_temp values (default)',
        )
        await client.query(`drop ${made.split(' ')[0]} by_temp`)
        await rival()
        await client.query("select current_setting('app.tenant', true)")
      }))
  }
})
