// drizzle-orm on the unmodified serverless driver, over HTTP and over WebSocket: typed queries,
// relations, what each has of transactions, prepared queries. Must only use what drizzle offers.
import assert from 'node:assert/strict'
import { afterEach, before, suite, test } from 'node:test'
import { asc, eq, relations, sql } from 'drizzle-orm'
import { drizzle as overHttp } from 'drizzle-orm/neon-http'
import { drizzle as overWebSocket } from 'drizzle-orm/neon-serverless'
import * as t from 'drizzle-orm/pg-core'
import { stage } from '../support/compare.ts'
import { aim, DRIVERS, errorOf, on, urlOf } from '../support/neon.ts'
import { getPostgres } from '../support/postgres.ts'

const postgres = await getPostgres()
await postgres.admin(`create table authors (id serial primary key, name text not null unique,
  born date, meta jsonb, made timestamptz default '2024-01-01 00:00:00+00');
  create table books (id serial primary key, author int not null references authors, title text not null,
    tags text[], price numeric(10, 2))`)
const { pooler } = await stage(postgres, 'one', { pool: { size: 1 }, serverless: on() })
const url = urlOf(postgres)
/** drizzle uses the driver by its own name. */
const { neon, NeonDbError, DatabaseError, Pool } = DRIVERS[0]!.neon

const authors = t.pgTable('authors', {
  id: t.serial().primaryKey(),
  name: t.text().notNull(),
  born: t.date(),
  meta: t.jsonb().$type<{ langs: string[] }>(),
  made: t.timestamp({ withTimezone: true }).defaultNow(),
})
const books = t.pgTable('books', {
  id: t.serial().primaryKey(),
  author: t.integer().notNull(),
  title: t.text().notNull(),
  tags: t.text().array(),
  price: t.numeric({ precision: 10, scale: 2 }),
})
const schema = {
  authors,
  books,
  authorsRelations: relations(authors, ({ many }) => ({ books: many(books) })),
  booksRelations: relations(books, ({ one }) => ({
    by: one(authors, { fields: [books.author], references: [authors.id] }),
  })),
}

const pool = new Pool({ connectionString: url })
const http = overHttp(neon(url), { schema })
const socket = overWebSocket(pool, { schema })
type Database = typeof http | typeof socket

before(() => aim({ neon: DRIVERS[0]!.neon, socket: undefined }, pooler))
afterEach(() => postgres.admin('truncate authors, books restart identity'))

/** An error of the driver: drizzle keeps it as the cause. */
async function causeOf(asked: PromiseLike<unknown>): Promise<unknown> {
  return (await errorOf(asked, Error)).cause
}

for (const [name, db] of [
  ['HTTP', http],
  ['WebSocket', socket],
] as const) {
  suite(name, () => {
    test('typed rows come back as they went, through inserts, joins and aggregates', () => assertQueries(db))

    test('relations', async () => {
      await fill(db)
      const found = await (db as typeof http).query.authors.findMany({
        columns: { name: true },
        with: { books: { columns: { title: true }, orderBy: asc(books.title) } },
        orderBy: asc(authors.name),
      })
      assert.deepEqual(found, [
        { name: 'Ada', books: [{ title: 'Notes' }, { title: 'Tables' }] },
        { name: 'Bob', books: [] },
      ])
    })

    test('prepared queries, again and again', async () => {
      await fill(db)
      const named = (db as typeof http)
        .select({ title: books.title })
        .from(books)
        .where(eq(books.title, sql.placeholder('title')))
        .prepare('by_title')
      for (let round = 0; round < 5; round++) {
        assert.deepEqual(await named.execute({ title: 'Notes' }), [{ title: 'Notes' }])
        assert.deepEqual(await named.execute({ title: 'none' }), [])
      }
    })

    test('errors keep the code of Postgres', async () => {
      await fill(db)
      const cause = await causeOf(db.insert(authors).values({ name: 'Ada' }).execute())
      assert.ok(cause instanceof NeonDbError || cause instanceof DatabaseError, String(cause))
      assert.equal(cause.code, '23505')
      assert.equal(cause.constraint, 'authors_name_key')
    })
  })
}

suite('transactions', () => {
  test('HTTP: a batch is one transaction', async () => {
    const [made, found] = await http.batch([
      http.insert(authors).values({ name: 'Ada' }).returning({ name: authors.name }),
      http.select({ name: authors.name }).from(authors),
    ])
    assert.deepEqual([made, found], [[{ name: 'Ada' }], [{ name: 'Ada' }]])
    const twice = http.batch([
      http.insert(authors).values({ name: 'Bob' }),
      http.insert(authors).values({ name: 'Ada' }),
    ])
    await errorOf(twice, Error)
    assert.deepEqual(await http.select({ name: authors.name }).from(authors), [{ name: 'Ada' }])
  })

  test('WebSocket: interactive, with savepoints, rolled back by an error', async () => {
    await socket.transaction(
      async (tx) => {
        await tx.insert(authors).values({ name: 'Ada' })
        await errorOf(
          tx.transaction(async (inner) => {
            await inner.insert(authors).values({ name: 'lost' })
            await inner.insert(authors).values({ name: 'Ada' })
          }),
          Error,
        )
        await tx.insert(authors).values({ name: 'Bob' })
      },
      { isolationLevel: 'repeatable read' },
    )
    const undone = socket.transaction(async (tx) => {
      await tx.delete(authors)
      tx.rollback()
    })
    await errorOf(undone, Error)
    const found = await socket.select({ name: authors.name }).from(authors).orderBy(authors.name)
    assert.deepEqual(found, [{ name: 'Ada' }, { name: 'Bob' }])
  })

  test('the pool ends', () => pool.end())
})

async function fill(given: Database): Promise<void> {
  const db = given as typeof http
  await db
    .insert(authors)
    .values([{ name: 'Ada', born: '1815-12-10', meta: { langs: ['en'] } }, { name: 'Bob' }])
  await db.insert(books).values([
    { author: 1, title: 'Notes', tags: ['a', 'b "q"'], price: '1.50' },
    { author: 1, title: 'Tables' },
  ])
}

async function assertQueries(given: Database): Promise<void> {
  const db = given as typeof http
  await fill(db)
  assert.deepEqual(await db.select().from(authors).orderBy(asc(authors.id)), [
    {
      ...{ id: 1, name: 'Ada', born: '1815-12-10', meta: { langs: ['en'] } },
      made: new Date('2024-01-01T00:00:00Z'),
    },
    { id: 2, name: 'Bob', born: null, meta: null, made: new Date('2024-01-01T00:00:00Z') },
  ])
  const joined = await db
    .select({ name: authors.name, title: books.title, tags: books.tags, price: books.price })
    .from(authors)
    .leftJoin(books, eq(books.author, authors.id))
    .orderBy(asc(authors.id), asc(books.id))
  assert.deepEqual(joined, [
    { name: 'Ada', title: 'Notes', tags: ['a', 'b "q"'], price: '1.50' },
    { name: 'Ada', title: 'Tables', tags: null, price: null },
    { name: 'Bob', title: null, tags: null, price: null },
  ])
  assert.equal(await db.$count(books), 2)
  const changed = await db.update(books).set({ price: '2.00' }).where(eq(books.id, 2)).returning()
  assert.deepEqual(changed, [{ id: 2, author: 1, title: 'Tables', tags: null, price: '2.00' }])
  const { rows, rowCount } = await db.execute(sql`select ${1}::int as a, ${'x'} as b`)
  assert.deepEqual({ rows, rowCount }, { rows: [{ a: 1, b: 'x' }], rowCount: 1 })
}
