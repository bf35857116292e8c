// drizzle-orm on node-postgres: its tables, its prepared statements by name, nested transactions.
import { eq, sql } from 'drizzle-orm'
import { drizzle, type NodePgDatabase } from 'drizzle-orm/node-postgres'
import { integer, pgTable, text } from 'drizzle-orm/pg-core'
import pg from 'pg'
import * as c from './contract.ts'

const items = pgTable(c.ITEMS, { id: integer('id').primaryKey(), body: text('body') })

function open(more: pg.PoolConfig = {}) {
  const pool = new pg.Pool({ max: 1, application_name: c.NAME, ...more })
  pool.on('error', () => {})
  return { pool, db: drizzle(pool) }
}

type On = Pick<NodePgDatabase, 'execute' | 'select' | 'insert'>

const { pool, db } = open()
const one = async (query: ReturnType<typeof sql>, on: On = db) => (await on.execute(query)).rows[0] ?? {}
const isWell = async () => (await one(sql`select 1 as n`)).n
const insert = (id: number, on: On = db) => on.insert(items).values({ id, body: 'x' })
const count = async () => (await db.select({ n: sql<number>`count(*)::int` }).from(items))[0]?.n

async function twice(on: On, i: number): Promise<unknown[]> {
  const texts: unknown[] = []
  for (const name of ['one', 'two']) {
    const [before, behind] = [sql.raw(`'${c.WHO} '`), sql.raw(`' ${name}'`)]
    const given = sql<string>`${before} || ${sql.placeholder('i')}::text || ${behind}`
    const statement = on.select({ t: given }).from(sql`(values (1)) as v`).prepare(name)
    texts.push((await statement.execute({ i }))[0]?.t)
  }
  return texts
}

async function prepared(isInside: (i: number) => boolean): Promise<unknown> {
  const texts: unknown[] = []
  for (let i = 0; i < 20; i++) {
    texts.push(...(isInside(i) ? await db.transaction((tx) => twice(tx, i)) : await twice(db, i)))
  }
  return texts
}

await c.run({
  connect: async () =>
    Object.values(
      await one(sql`select current_user::text, current_setting(${'client_encoding'}) as e,
        current_setting(${'application_name'}) as n`),
    ),
  types: async () => {
    await insert(7)
    const rows = await db.select().from(items).where(eq(items.id, 7))
    await db.delete(items)
    return [...c.shown(await one(sql.raw(c.LITERALS))), ...rows.flatMap(c.shown)]
  },
  params: async () => {
    const { t, n } = await one(sql`select ${c.TEXT}::text as t, ${null}::text as n`)
    const terms = sql.join(
      c.NUMBERS.map((i) => sql`${i}::int`),
      sql` + `,
    )
    return [t, n, (await one(sql`select ${terms} as n`)).n]
  },
  errors: async () => {
    await insert(9000)
    const failing = [insert(9000), db.execute(sql`table nowhere`), db.execute(sql`select 1 / ${0}::int`)]
    const codes: string[] = []
    for (const query of failing) codes.push(await c.codeOf(query))
    await db.delete(items)
    return [...codes, await isWell()]
  },
  prepared: () => prepared(() => false),
  prepared_tx: () => prepared((i) => i % 3 !== 2),
  large: async () => {
    const rows = (await db.execute<{ t: string }>(sql.raw(c.LARGE))).rows
    const { n, m } = await one(
      sql`select length(t) as n, md5(t) as m from (select ${c.BIG}::text) as given(t)`,
    )
    return [
      [rows.length, c.md5(rows.map(({ t }) => t))],
      [n, m],
    ]
  },
  ddl: async () => {
    const read = async (on: NodePgDatabase) =>
      (await on.execute(sql`select * from ${sql.identifier(c.SHAPE)}`)).fields.length
    const reads = [await read(db)]
    await db.execute(sql`alter table ${sql.identifier(c.SHAPE)} add column extra text`)
    const other = open()
    reads.push(await read(other.db))
    await other.pool.end()
    return [...reads, await read(db), await read(db)]
  },
  transaction: async () => {
    const pids = await db.transaction(
      async (tx) => {
        await insert(1, tx)
        const pids = new Set()
        for (let i = 0; i < 3; i++) pids.add((await one(sql`select pg_backend_pid() as n`, tx)).n)
        return pids
      },
      { isolationLevel: 'serializable' },
    )
    const committed = await count()
    const undone = db.transaction(async (tx) => {
      await insert(2, tx)
      tx.rollback()
    })
    await undone.catch(() => {})
    const left = await count()
    await db.delete(items)
    return [committed, left, pids.size === 1]
  },
  savepoints: async () => {
    const failed = await db.transaction(async (tx) => {
      await insert(1, tx)
      const code = await c.codeOf(tx.transaction((inner) => insert(1, inner)))
      await insert(3, tx)
      return code
    })
    const rows = await db.delete(items).returning({ id: items.id })
    return [failed, rows.map(({ id }) => id)]
  },
  failed: async () => {
    const codes: string[] = []
    const undone = db.transaction(async (tx) => {
      codes.push(await c.codeOf(tx.execute(sql`select 1/0`)), await c.codeOf(tx.execute(sql`select 1`)))
      tx.rollback()
    })
    await undone.catch(() => {})
    return [...codes, await isWell()]
  },
  pool: async () => {
    const two = open({ max: 2 })
    const sum = await c.work((worker) =>
      two.db.transaction(async (tx) => Number((await one(sql`select ${worker}::int as n`, tx)).n)),
    )
    await two.pool.end()
    return sum
  },
  timeout: async () => {
    const inside = db.transaction(async (tx) => {
      await tx.execute(sql`set local statement_timeout = 100`)
      await tx.execute(sql`select pg_sleep(5)`)
    })
    const local = await c.codeOf(inside)
    const other = open({ statement_timeout: 100 })
    const startup = await c.codeOf(other.db.execute(sql`select pg_sleep(5)`))
    await other.pool.end()
    return [local, startup, await isWell()]
  },
  reconnect: async () => {
    const failed = await c.codeOf(db.execute(sql`select pg_terminate_backend(pg_backend_pid())`))
    return [failed, await c.again(isWell)]
  },
})
await pool.end()
