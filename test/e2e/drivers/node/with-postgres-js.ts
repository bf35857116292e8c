// postgres.js: statements prepared by default, requests sent without waiting, cursors, COPY streams, listen.
import { once } from 'node:events'
import { Readable } from 'node:stream'
import { pipeline } from 'node:stream/promises'
import connect, { type Options } from 'postgres'
import * as c from './contract.ts'

const {
  PGHOST: host = '',
  PGPORT = '',
  PGUSER: user = '',
  PGPASSWORD: password = '',
  PGDATABASE,
} = process.env

function open(more: Options<Record<string, never>> = {}) {
  const database = PGDATABASE ?? ''
  const connection = { application_name: c.NAME, ...more.connection }
  return connect({ host, port: Number(PGPORT), user, password, database, max: 1, ...more, connection })
}

const sql = open()
const items = sql(c.ITEMS)
const isWell = async () => (await sql`select 1 as n`)[0]?.n
const twice = async (on: typeof sql, i: number) => {
  // Sent together: the driver does not wait in between.
  const [[one], [two]] = await Promise.all([
    on`select ${sql.unsafe(`'${c.WHO} '`)} || ${i}::text || ' one' as t`,
    on`select ${sql.unsafe(`'${c.WHO} '`)} || ${i}::text || ' two' as t`,
  ])
  return [one?.t, two?.t]
}

async function prepared(isInside: (i: number) => boolean): Promise<string[]> {
  const texts: string[] = []
  for (let i = 0; i < 20; i++) {
    const work = isInside(i) ? sql.begin((tx) => twice(tx as unknown as typeof sql, i)) : twice(sql, i)
    texts.push(...((await work) as string[]))
  }
  return texts
}

async function copy(): Promise<unknown> {
  await pipeline(Readable.from(c.LINES), await sql`copy ${items} (id, body) from stdin`.writable())
  const [row] = await sql`select count(*)::int as n from ${items}`
  const pieces: Buffer[] = []
  const out = await sql`copy (select id, body from ${items} order by id) to stdout`.readable()
  for await (const piece of out) pieces.push(piece)
  const bad = await sql`copy ${items} (id, body) from stdin`.writable()
  // Behind the end of a COPY the driver does not tell of an error: it has to come before.
  const refused = once(bad, 'error')
  bad.write('seven\tx\n')
  const [{ code: failed }] = await refused
  await sql`truncate ${items}`
  return [row?.n, c.md5(pieces), failed, await isWell()]
}

async function cancel(): Promise<unknown> {
  const query = sql`select pg_sleep(20)`
  const failed = c.codeOf(query)
  await new Promise((resolve) => setTimeout(resolve, 300))
  query.cancel()
  return [await failed, await isWell()]
}

async function transaction(): Promise<unknown> {
  const count = async () => (await sql`select count(*)::int as n from ${items}`)[0]?.n
  const pids = await sql.begin(async (tx) => {
    await tx`insert into ${items} values (1, 'kept')`
    const answers = await Promise.all([1, 2, 3].map(() => tx`select pg_backend_pid() as n`))
    return new Set(answers.map(([row]) => row?.n))
  })
  const committed = await count()
  const undone = sql.begin(async (tx) => {
    await tx`insert into ${items} values (2, 'not kept')`
    throw new Error('changed my mind')
  })
  await undone.catch(() => {})
  const left = await count()
  await sql`delete from ${items}`
  return [committed, left, pids.size === 1]
}

async function savepoints(): Promise<unknown> {
  const failed = await sql.begin(async (tx) => {
    await tx`insert into ${items} values (1, 'x')`
    const code = await c.codeOf(tx.savepoint((inner) => inner`insert into ${items} values (1, 'x')`))
    await tx`insert into ${items} values (3, 'x')`
    return code
  })
  const rows = await sql`delete from ${items} returning id`
  return [failed, rows.map(({ id }) => id)]
}

async function failed(): Promise<unknown> {
  const codes: string[] = []
  const undone = sql.begin(async (tx) => {
    codes.push(await c.codeOf(tx`select 1/0`), await c.codeOf(tx`select 1`))
    throw new Error('enough')
  })
  await undone.catch(() => {})
  return [...codes, await isWell()]
}

async function cursor(): Promise<unknown> {
  const sizes: number[] = []
  let total = 0
  await sql.begin(async (tx) => {
    for await (const rows of tx`select i from generate_series(1, 250) i`.cursor(100)) {
      sizes.push(rows.length)
      for (const { i } of rows) total += i
    }
  })
  return [sizes, total]
}

async function timeout(): Promise<unknown> {
  const inside = sql.begin(async (tx) => {
    await tx`set local statement_timeout = 100`
    await tx`select pg_sleep(5)`
  })
  const local = await c.codeOf(inside)
  const other = open({ connection: { statement_timeout: 100 } as object })
  const startup = await c.codeOf(other`select pg_sleep(5)`)
  await other.end()
  return [local, startup, await isWell()]
}

async function ddl(): Promise<unknown> {
  const read = async (on: typeof sql) => {
    try {
      return (await on`select * from ${sql(c.SHAPE)}`).columns.length
    } catch (error) {
      return (error as connect.PostgresError).code
    }
  }
  const reads = [await read(sql)]
  await sql`alter table ${sql(c.SHAPE)} add column extra text`
  const other = open()
  reads.push(await read(other))
  await other.end()
  reads.push(await read(sql))
  reads.push(await read(sql))
  return reads
}

async function listen(): Promise<unknown> {
  const heard = Promise.withResolvers<string>()
  const { unlisten } = await sql.listen(c.NEWS, heard.resolve)
  await sql.notify(c.NEWS, `news for ${c.WHO}`)
  const news = await heard.promise
  await unlisten()
  return news
}

await c.run({
  connect: async () => {
    const [row] = await sql`select current_user::text, current_setting('client_encoding') as e,
      current_setting('application_name') as n`
    return Object.values(row ?? {})
  },
  types: async () => {
    const values = c.VALUES.map((value, i) => (i === 5 ? sql.json({ a: [1, 2] }) : value)) as never[]
    const rows = [await sql.unsafe(c.LITERALS), await sql.unsafe(c.PARAMETERS, values, { prepare: true })]
    return rows.flatMap(([row]) => c.shown(row ?? {}))
  },
  params: async () => {
    const [row] = await sql`select ${c.TEXT}::text as t, ${null}::text as n`
    return [row?.t, row?.n, (await sql.unsafe(c.SUM, c.NUMBERS))[0]?.n]
  },
  errors: async () => {
    const insert = () => sql`insert into ${items} values (${9000}, 'x')`
    await insert()
    const codes = [
      await c.codeOf(insert()),
      await c.codeOf(sql`table nowhere`),
      await c.codeOf(sql`select 1 / ${0}::int`),
    ]
    await sql`delete from ${items}`
    return [...codes, await isWell()]
  },
  prepared: () => prepared(() => false),
  prepared_tx: () => prepared((i) => i % 3 !== 2),
  pipeline: async () => {
    const ten = Array.from({ length: 10 }, (_, i) => sql`select ${`${c.WHO} ${i}`}::text as t`)
    const values = (await Promise.all(ten)).map(([row]) => row?.t)
    const answers = await Promise.allSettled([1, 0, 2].map((divisor) => sql`select 1 / ${divisor}::int as n`))
    const rejected = answers.filter((answer) => answer.status === 'rejected')
    return [values, rejected.map(({ reason }) => reason.code).join(), await isWell()]
  },
  copy,
  large: async () => {
    const rows = await sql.unsafe(c.LARGE)
    const [row] = await sql.unsafe(c.BIG_SQL, [c.BIG])
    return [
      [rows.length, c.md5(rows.map(({ t }) => t))],
      [row?.n, row?.m],
    ]
  },
  cancel,
  ddl,
  transaction,
  savepoints,
  failed,
  cursor,
  pool: async () => {
    const pool = open({ max: 2 })
    const sum = await c.work((worker) =>
      pool.begin(async (tx) => (await tx`select ${worker}::int as n`)[0]?.n),
    )
    await pool.end()
    return sum
  },
  timeout,
  reconnect: async () => {
    const failed = await c.codeOf(sql`select pg_terminate_backend(pg_backend_pid())`)
    return [failed, await c.again(isWell)]
  },
  listen,
})
await sql.end()
