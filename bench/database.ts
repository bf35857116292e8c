// Owns the account and the databases that the load uses. Must never be a superuser: while a bench runs, the
// poolers let everybody on this machine in (trust on loopback).
import { randomBytes } from 'node:crypto'
import { readFile, writeFile } from 'node:fs/promises'
import { Client } from 'pg'
import type { EmbeddedPostgres } from '../src/embedded/embedded.ts'
import type { Target } from './load/connection.ts'
import {
  ACCOUNTS_PER_SCALE,
  BULK_ROW,
  BULK_ROWS,
  BULK_TABLE,
  FACTS,
  isBulk,
  type Load,
  SELECT_SCALE,
  TELLERS_PER_SCALE,
  TPCB_SCALE,
  WIDE_ROW,
  WIDE_ROWS,
  WIDE_TABLE,
} from './scenarios.ts'

const NAME = 'bench'
const TPCB_NAME = 'bench_tpcb'

/** Creates an account without rights and its databases. */
export async function createDatabases(postgres: EmbeddedPostgres, wished: string): Promise<Target> {
  const { host, port } = postgres
  const password = wished || randomBytes(24).toString('base64url')
  const admin = new Client({ connectionString: postgres.url })
  await admin.connect()
  try {
    await admin.query(`create role ${NAME} login password '${password}'`)
    for (const name of [NAME, TPCB_NAME]) await admin.query(`create database ${name} owner ${NAME}`)
    await trustLoad(admin)
  } finally {
    await admin.end()
  }
  return { host, port, user: NAME, password, database: NAME }
}

/** As the poolers do: otherwise `connect` would compare a password's 4096 rounds with none. */
async function trustLoad(admin: Client): Promise<void> {
  const { rows } = await admin.query<{ hba_file: string }>('show hba_file')
  const path = rows[0]!.hba_file
  const rule = `host ${NAME},${TPCB_NAME} ${NAME} 127.0.0.1/32 trust\n`
  await writeFile(path, rule + (await readFile(path, 'utf8')))
  await admin.query('select pg_reload_conf()')
}

/** @returns where a load finds its tables: TPC-B has a database of its own, for its scale */
export function databaseOf(load: Load): string {
  return FACTS[load].how === 'tpcb' ? TPCB_NAME : NAME
}

export function scaleOf(load: Load): number {
  return load === 'tpcb' ? TPCB_SCALE : SELECT_SCALE
}

/** Creates and fills what these loads read and write: pgbench's tables, and one for COPY. */
export async function fill(login: Target, loads: readonly Load[]): Promise<void> {
  if (loads.some((load) => load !== 'tpcb' && load !== 'wide' && !isBulk(load))) {
    await inDatabase(login, NAME, accountTables(SELECT_SCALE))
  }
  if (loads.includes('tpcb')) await inDatabase(login, TPCB_NAME, accountTables(TPCB_SCALE))
  if (loads.some(isBulk)) await inDatabase(login, NAME, rowsOfText(BULK_TABLE, BULK_ROWS, BULK_ROW))
  if (loads.includes('wide')) {
    await inDatabase(login, NAME, [
      ...rowsOfText(WIDE_TABLE, WIDE_ROWS, WIDE_ROW),
      `alter table ${WIDE_TABLE} add primary key (a)`,
    ])
  }
}

/** What pgbench does before each run of TPC-B, past the peers: the last run left dead rows behind. */
export async function tidyTpcb(login: Target): Promise<void> {
  const vacuums = ['branches', 'tellers'].map((name) => `vacuum pgbench_${name}`)
  await inDatabase(login, TPCB_NAME, [...vacuums, 'truncate pgbench_history'])
}

async function inDatabase(login: Target, database: string, statements: readonly string[]): Promise<void> {
  const client = new Client({ ...login, database })
  await client.connect()
  try {
    for (const statement of statements) await client.query(statement)
  } finally {
    await client.end()
  }
}

/** As `pgbench -i -I tGvp`. */
function accountTables(scale: number): string[] {
  const rows = (count: number): string => `generate_series(1, ${count}) i`
  const accounts = ACCOUNTS_PER_SCALE * scale
  const tellers = TELLERS_PER_SCALE * scale
  return [
    'create table pgbench_history(tid int, bid int, aid int, delta int, mtime timestamp, filler char(22))',
    'create table pgbench_tellers(tid int not null, bid int, tbalance int, filler char(84))',
    'create table pgbench_accounts(aid int not null, bid int, abalance int, filler char(84))',
    'create table pgbench_branches(bid int not null, bbalance int, filler char(88))',
    `insert into pgbench_branches select i, 0, null from ${rows(scale)}`,
    `insert into pgbench_tellers select i, (i - 1) / ${TELLERS_PER_SCALE} + 1, 0, null from ${rows(tellers)}`,
    `insert into pgbench_accounts select i, (i - 1) / ${ACCOUNTS_PER_SCALE} + 1, 0, '' ` +
      `from ${rows(accounts)}`,
    'alter table pgbench_branches add primary key (bid)',
    'alter table pgbench_tellers add primary key (tid)',
    'alter table pgbench_accounts add primary key (aid)',
    ...['branches', 'tellers', 'accounts', 'history'].map((name) => `vacuum analyze pgbench_${name}`),
  ]
}

/** Rows that Postgres sends as they lie there: nothing to unpack, and in binary form nothing to escape. */
function rowsOfText(table: string, rows: number, bytes: number): string[] {
  return [
    `create table ${table}(a int, b text)`,
    `alter table ${table} alter b set storage plain`,
    `insert into ${table} select i, repeat('x', ${bytes}) from generate_series(1, ${rows}) i`,
    `vacuum analyze ${table}`,
  ]
}
