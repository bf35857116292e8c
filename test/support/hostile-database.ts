// A database with an owner who is no superuser, and with a user without rights whose search path means harm
// to every query that does not say which operator it means.

import assert from 'node:assert/strict'
import { readRoutines } from './catalogue.ts'
import type { TestPostgres } from './postgres.ts'
import { WireClient } from './wire-client.ts'

/** It stays when the statement has ended; its twin does not. */
export const HOT = 'pg_try_advisory_lock(1)'
export const COLD = 'pg_try_advisory_xact_lock(1)'
const HELD = `select count(*) from pg_catalog.pg_locks where locktype = 'advisory' and pid = pg_backend_pid()`

/** What a search path can do to a query that is not qualified. */
const EVIL = `create schema evil; grant usage on schema evil to public;
create function evil.never(oid, oid) returns bool language plpgsql as $$ begin raise 'fooled'; end $$;
create function evil.never(text, text) returns bool language plpgsql as $$ begin raise 'fooled'; end $$;
create function evil.concat(text, oid) returns text language plpgsql as $$ begin raise 'fooled'; end $$;
create operator evil.= (leftarg = oid, rightarg = oid, function = evil.never);
create operator evil.<> (leftarg = oid, rightarg = oid, function = evil.never);
create operator evil.>= (leftarg = oid, rightarg = oid, function = evil.never);
create operator evil.= (leftarg = text, rightarg = text, function = evil.never);
create operator evil.~ (leftarg = text, rightarg = text, function = evil.never);
create domain evil.text as pg_catalog.text check (false);
create domain evil.oid as pg_catalog.oid check (false);
create domain evil."char" as pg_catalog."char" check (false);
create view evil.pg_class as select 1 as nothing;
create view evil.pg_depend as select 1 as nothing`

export async function run(client: WireClient, sql: string): Promise<(string | null)[][]> {
  const { rows, error } = await client.query(sql)
  assert.equal(error, null, `${sql}: ${error?.message}`)
  return rows
}

/** A database of its own with its owner, a user without rights in it, and one who may do everything. */
export async function openDatabase(postgres: TestPostgres, name: string) {
  const { host, port, user, password, major } = postgres
  await postgres.admin(`create database ${name}`)
  for (const role of [`${name}_owner`, `${name}_nobody`]) {
    await postgres.admin(`create role ${role} login password 'secret'`)
  }
  const open = (as: string, secret: string) =>
    WireClient.connect({ host, port, user: as, password: secret, database: name })
  const root = await open(user, password)
  await run(
    root,
    `grant create on database ${name} to ${name}_owner; grant create on schema public to ${name}_owner`,
  )
  await run(root, EVIL)
  const owner = await open(`${name}_owner`, 'secret')
  const nobody = await open(`${name}_nobody`, 'secret')
  await run(nobody, 'set search_path = evil, pg_catalog')
  const close = async () => {
    for (const client of [root, owner, nobody]) await client.end()
    await postgres.admin(`drop database ${name}`)
    for (const role of [`${name}_owner`, `${name}_nobody`]) await postgres.admin(`drop role ${role}`)
  }
  return { root, owner, nobody, close, read: () => readRoutines(nobody, major) }
}

export type Database = Awaited<ReturnType<typeof openDatabase>>

/** Did a session-level lock stay behind this statement? */
export async function leavesLock(client: WireClient, statement: string): Promise<boolean> {
  await run(client, statement)
  const [[held]] = await run(client, HELD)
  await run(client, 'select pg_advisory_unlock_all()')
  return held !== '0'
}
