// kysely on node-postgres: typed queries, transactions that are controlled by hand with savepoints, streams
// over a cursor.
import { type Generated, Kysely, PostgresDialect, sql } from 'kysely'
import pg from 'pg'
import Cursor from 'pg-cursor'
import * as c from './contract.ts'

type Database = Record<string, { id: Generated<number>; body: string | null }>

function open(more: pg.PoolConfig = {}): Kysely<Database> {
  const pool = new pg.Pool({ max: 1, application_name: c.NAME, ...more })
  pool.on('error', () => {})
  // A connection that breaks while it is lent out tells its user as well.
  pool.on('connect', (client) => void client.on('error', () => {}))
  return new Kysely<Database>({ dialect: new PostgresDialect({ pool, cursor: Cursor as never }) })
}

const db = open()
const one = async <Row extends object = { n: number }>(
  query: ReturnType<typeof sql>,
  on: Kysely<Database> = db,
) => (await query.execute(on)).rows[0] as Row
const isWell = async () => (await one(sql`select 1 as n`)).n
const insert = (id: number, on: Kysely<Database> = db) =>
  on.insertInto(c.ITEMS).values({ id, body: 'x' }).execute()
const remove = () => db.deleteFrom(c.ITEMS).returning('id').execute()
const count = async () => (await one(sql`select count(*)::int as n from ${sql.table(c.ITEMS)}`)).n

await c.run({
  connect: async () =>
    Object.values(
      await one(sql`select current_user::text, current_setting(${'client_encoding'}) as e,
        current_setting(${'application_name'}) as n`),
    ),
  types: async () => {
    await insert(7)
    const rows = await db.selectFrom(c.ITEMS).selectAll().where('id', '=', 7).execute()
    await remove()
    return [...c.shown(await one(sql.raw(c.LITERALS))), ...rows.flatMap(c.shown)]
  },
  params: async () => {
    const { t, n } = await one<{ t: string; n: null }>(sql`select ${c.TEXT}::text as t, ${null}::text as n`)
    const terms = sql.join(
      c.NUMBERS.map((i) => sql`${i}::int`),
      sql` + `,
    )
    return [t, n, (await one(sql`select ${terms} as n`)).n]
  },
  errors: async () => {
    await insert(9000)
    const codes = [
      await c.codeOf(insert(9000)),
      await c.codeOf(db.selectFrom('nowhere').selectAll().execute()),
      await c.codeOf(one(sql`select 1 / ${0}::int`)),
    ]
    await remove()
    return [...codes, await isWell()]
  },
  large: async () => {
    const pieces: string[] = []
    for (const { t } of (await sql<{ t: string }>`${sql.raw(c.LARGE)}`.execute(db)).rows) pieces.push(t)
    const big = sql`select length(t) as n, md5(t) as m from (select ${c.BIG}::text) as given(t)`
    const { n, m } = await one<{ n: number; m: string }>(big)
    return [
      [pieces.length, c.md5(pieces)],
      [n, m],
    ]
  },
  ddl: async () => {
    const read = async (on: Kysely<Database>) =>
      Object.keys((await on.selectFrom(c.SHAPE).selectAll().executeTakeFirst()) ?? {}).length
    const reads = [await read(db)]
    await db.schema.alterTable(c.SHAPE).addColumn('extra', 'text').execute()
    const other = open()
    reads.push(await read(other))
    await other.destroy()
    return [...reads, await read(db), await read(db)]
  },
  transaction: async () => {
    const pids = await db
      .transaction()
      .setIsolationLevel('serializable')
      .execute(async (tx) => {
        await insert(1, tx)
        const pids = new Set()
        for (let i = 0; i < 3; i++) pids.add((await one(sql`select pg_backend_pid() as n`, tx)).n)
        return pids
      })
    const committed = await count()
    const undone = await db.startTransaction().execute()
    await insert(2, undone)
    await undone.rollback().execute()
    const left = await count()
    await remove()
    return [committed, left, pids.size === 1]
  },
  savepoints: async () => {
    const tx = await db.startTransaction().execute()
    await insert(1, tx)
    const saved = await tx.savepoint('s').execute()
    const failed = await c.codeOf(insert(1, saved))
    await saved.rollbackToSavepoint('s').execute()
    await insert(3, tx)
    await tx.commit().execute()
    return [failed, (await remove()).map(({ id }) => id)]
  },
  failed: async () => {
    const tx = await db.startTransaction().execute()
    const codes = [await c.codeOf(one(sql`select 1/0`, tx)), await c.codeOf(one(sql`select 1`, tx))]
    await tx.rollback().execute()
    return [...codes, await isWell()]
  },
  cursor: async () => {
    const sizes: number[] = [0]
    let total = 0
    const rows = (db as unknown as Kysely<{ none: { i: number } }>)
      .selectFrom(sql<{ i: number }>`generate_series(1, 250)`.as('i'))
      .select('i')
      .stream(100)
    for await (const { i } of rows) {
      // The stream gives rows, and asks for a hundred at a time.
      if (sizes.at(-1) === 100) sizes.push(0)
      sizes[sizes.length - 1]!++
      total += i
    }
    return [sizes, total]
  },
  pool: async () => {
    const two = open({ max: 2 })
    const sum = await c.work((worker) =>
      two.transaction().execute(async (tx) => (await one(sql`select ${worker}::int as n`, tx)).n),
    )
    await two.destroy()
    return sum
  },
  timeout: async () => {
    const inside = db.transaction().execute(async (tx) => {
      await one(sql`set local statement_timeout = 100`, tx)
      await one(sql`select pg_sleep(5)`, tx)
    })
    const local = await c.codeOf(inside)
    const other = open({ statement_timeout: 100 })
    const startup = await c.codeOf(one(sql`select pg_sleep(5)`, other))
    await other.destroy()
    return [local, startup, await isWell()]
  },
  reconnect: async () => {
    const failed = await c.codeOf(one(sql`select pg_terminate_backend(pg_backend_pid())`))
    return [failed, await c.again(isWell)]
  },
})
await db.destroy()
