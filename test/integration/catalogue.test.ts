// The queries about a database's functions, on a real server and under a search path that means harm.

import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { isShareableBuiltin } from '../../src/sql/sharing.ts'
import { BUILTINS_QUERY } from '../../src/sql/sharing-queries.ts'
import { Fact } from '../../src/sql/scanner.ts'
import { readRoutines } from '../support/catalogue.ts'
import { getPostgres } from '../support/postgres.ts'
import { WireClient } from '../support/wire-client.ts'

const postgres = await getPostgres()
const { host, port, user, password, database, major } = postgres

const SCRIPT = `
create schema evil;
create function evil.length(text) returns int language plpgsql as $$ begin raise 'fooled'; end $$;
create function evil.never(text, text) returns bool language plpgsql as $$ begin raise 'fooled'; end $$;
create operator evil.= (leftarg = text, rightarg = text, function = evil.never);
create view evil.pg_proc as select 1 as nothing;
create function sets() returns void language plpgsql as $$ begin set app.tenant = 'a'; end $$;
create function calls() returns void language sql as 'select sets()';
create procedure locks() language plpgsql as $$ begin perform pg_advisory_lock(1); end $$;
create function plain(int) returns int language sql as 'select $1 + 1';
create function fires() returns trigger language plpgsql as $$ begin execute 'select 1'; return new; end $$;
create function internal(int) returns int language internal as 'int4abs';
create function sums(int, int) returns int language plpgsql as $$ begin set app.x = 1; return 1; end $$;
create aggregate agg(int) (sfunc = int4pl, stype = int);
create aggregate agg_sets(int) (sfunc = sums, stype = int);
set search_path = evil, public, pg_catalog;
`

describe("a database's functions", () => {
  it('are judged from the catalogue', async () => {
    const client = await WireClient.connect({ host, port, user, password, database })
    assert.equal((await client.query(SCRIPT)).error, null)
    if (major >= 14) {
      const atomic = `create function public.atomic() returns text
        return pg_catalog.set_config('a.b', 'c', false)`
      assert.equal((await client.query(atomic)).error, null)
    }
    const routines = await readRoutines(client, major)
    assert.equal(routines.touches('sets'), Fact.Settings)
    assert.equal(routines.touches('calls'), Fact.Settings)
    assert.equal(routines.touches('locks'), Fact.Locks)
    assert.equal(routines.touches('fires'), Fact.Executes)
    assert.equal(routines.touches('plain'), 0)
    assert.equal(routines.touches('agg'), 0)
    assert.equal(routines.touches('agg_sets'), Fact.Settings)
    assert.equal(routines.touches('internal'), Fact.Unclear)
    if (major >= 14) assert.equal(routines.touches('atomic'), Fact.Settings)
    assert.ok(!routines.knows('pg_advisory_lock'), 'built-in ones are not asked for')
    await client.end()
  })

  it('and the built-in ones by their volatility', async () => {
    const client = await WireClient.connect({ host, port, user, password, database })
    const { rows, error } = await client.query(BUILTINS_QUERY)
    assert.equal(error, null)
    const shareable = rows.filter(([name, isVolatile]) =>
      isShareableBuiltin(String(name), isVolatile === 't'),
    )
    assert.ok(rows.length > 2_000 && shareable.length > 1_800 && shareable.length < rows.length - 60)
    const names = new Set(shareable.map(([name]) => name))
    for (const name of ['count', 'lower', 'jsonb_build_object', 'now']) assert.ok(names.has(name), name)
    const risky = /advisory|^lo_|reset|terminate|notify|to_xml|set_config|^(next|set|curr|last)val/
    const kept = [...names].filter((name) => risky.test(String(name)) && !/^pg_stat_get/.test(String(name)))
    // They show the shape of a table and run nothing.
    assert.deepEqual(kept.sort(), ['database_to_xmlschema', 'schema_to_xmlschema', 'table_to_xmlschema'])
    await client.end()
  })
})
