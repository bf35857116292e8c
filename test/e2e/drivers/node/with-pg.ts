// node-postgres with its cursors, query streams and COPY streams.
import { once } from 'node:events'
import { Readable } from 'node:stream'
import { pipeline } from 'node:stream/promises'
import pg from 'pg'
import { from, to } from 'pg-copy-streams'
import Cursor from 'pg-cursor'
import QueryStream from 'pg-query-stream'
import * as c from './contract.ts'

async function connect(more: pg.ClientConfig = {}): Promise<pg.Client> {
  const made = new pg.Client({ application_name: c.NAME, ...more })
  // An error of the connection also fails what runs on it.
  made.on('error', () => {})
  await made.connect()
  return made
}

let client = await connect()
let isOpen = true
client.once('end', () => {
  isOpen = false
})

const one = async (text: string, values?: unknown[]) => (await client.query(text, values)).rows[0]
const code = (text: string, values?: unknown[]) => c.codeOf(client.query(text, values))
const isWell = async () => (await one('select 1 as n')).n

async function twice(i: number): Promise<string[]> {
  const texts: string[] = []
  for (const name of ['one', 'two']) {
    const text = `select '${c.WHO} ' || $1::text || ' ${name}' as t`
    texts.push((await client.query({ name, text, values: [i] })).rows[0].t)
  }
  return texts
}

async function prepared(isInside: (i: number) => boolean): Promise<string[]> {
  const texts: string[] = []
  for (let i = 0; i < 20; i++) {
    if (isInside(i)) await client.query('begin')
    texts.push(...(await twice(i)))
    if (isInside(i)) await client.query('commit')
  }
  return texts
}

async function copy(): Promise<unknown> {
  const input = client.query(from(`copy ${c.ITEMS} from stdin`))
  await pipeline(Readable.from(c.LINES), input)
  const pieces: Buffer[] = []
  for await (const piece of client.query(to(`copy (table ${c.ITEMS} order by id) to stdout`)))
    pieces.push(piece)
  const bad = client.query(from(`copy ${c.ITEMS} from stdin`))
  const failed = await c.codeOf(pipeline(Readable.from(['seven\tx\n']), bad))
  await client.query(`truncate ${c.ITEMS}`)
  return [input.rowCount, c.md5(pieces), failed, await isWell()]
}

async function large(): Promise<unknown> {
  const pieces: string[] = []
  for await (const { t } of client.query(new QueryStream(c.LARGE, [], { batchSize: 20 }))) pieces.push(t)
  const { n, m } = await one(c.BIG_SQL, [c.BIG])
  return [
    [pieces.length, c.md5(pieces)],
    [n, m],
  ]
}

async function cancel(): Promise<unknown> {
  const query = new pg.Query('select pg_sleep(20)')
  client.query(query)
  const failed = once(query, 'error')
  await new Promise((resolve) => setTimeout(resolve, 300))
  // The driver's own way to send a CancelRequest; it is not in its types.
  const untyped = new pg.Client() as unknown as { cancel(client: pg.Client, query: unknown): void }
  untyped.cancel(client, query)
  const [error] = await failed
  return [error.code, await isWell()]
}

async function transaction(): Promise<unknown> {
  await client.query('begin')
  await client.query(`insert into ${c.ITEMS} values (1, 'kept')`)
  const pids = new Set()
  for (let i = 0; i < 3; i++) pids.add((await one('select pg_backend_pid() as n')).n)
  await client.query('commit')
  const count = async () => (await one(`select count(*)::int as n from ${c.ITEMS}`)).n
  const committed = await count()
  await client.query('begin')
  await client.query(`insert into ${c.ITEMS} values ($1, 'not kept')`, [2])
  await client.query('rollback')
  const left = await count()
  await client.query(`delete from ${c.ITEMS}`)
  return [committed, left, pids.size === 1]
}

async function savepoints(): Promise<unknown> {
  const insert = `insert into ${c.ITEMS} values ($1, 'x')`
  await client.query('begin')
  await client.query(insert, [1])
  await client.query('savepoint s')
  const failed = await code(insert, [1])
  await client.query('rollback to s')
  await client.query(insert, [3])
  await client.query('commit')
  const { rows } = await client.query(`delete from ${c.ITEMS} returning id`)
  return [failed, rows.map(({ id }) => id)]
}

async function cursor(): Promise<unknown> {
  await client.query('begin')
  const open = client.query(new Cursor<{ i: number }>('select i from generate_series(1, $1::int) i', [250]))
  const sizes: number[] = []
  let total = 0
  for (let rows = await open.read(100); rows.length > 0; rows = await open.read(100)) {
    sizes.push(rows.length)
    for (const { i } of rows) total += i
  }
  await open.close()
  await client.query('commit')
  return [sizes, total]
}

async function timeout(): Promise<unknown> {
  await client.query('begin; set local statement_timeout = 100')
  const local = await code('select pg_sleep(5)')
  await client.query('rollback')
  const other = await connect({ statement_timeout: 100 })
  const startup = await c.codeOf(other.query('select pg_sleep(5)'))
  await other.end()
  return [local, startup, await isWell()]
}

async function ddl(): Promise<unknown> {
  const read = async (on: pg.Client) => {
    try {
      return (await on.query({ name: 'shape', text: `select * from ${c.SHAPE}` })).fields.length
    } catch (error) {
      return (error as pg.DatabaseError).code
    }
  }
  const reads = [await read(client)]
  await client.query(`alter table ${c.SHAPE} add column extra text`)
  const other = await connect()
  reads.push(await read(other))
  await other.end()
  reads.push(await read(client))
  reads.push(await read(client))
  return reads
}

async function reconnect(): Promise<unknown> {
  const failed = await code('select pg_terminate_backend(pg_backend_pid())')
  const again = await isWell().catch(() => 0)
  if (again === 1 && isOpen) return [failed, again]
  client = await connect()
  return [failed, await isWell()]
}

async function listen(): Promise<unknown> {
  await client.query(`listen ${c.NEWS}`)
  const heard = once(client, 'notification')
  const other = await connect()
  await other.query('select pg_notify($1, $2)', [c.NEWS, `news for ${c.WHO}`])
  await other.end()
  return (await heard)[0].payload
}

await c.run({
  connect: async () =>
    Object.values(
      await one('select current_user::text, current_setting($1) as e, current_setting($2) as n', [
        'client_encoding',
        'application_name',
      ]),
    ),
  types: async () => [...c.shown(await one(c.LITERALS)), ...c.shown(await one(c.PARAMETERS, c.VALUES))],
  params: async () => {
    const { t, n } = await one('select $1::text as t, $2::text as n', [c.TEXT, null])
    return [t, n, (await one(c.SUM, c.NUMBERS)).n]
  },
  errors: async () => {
    const insert = `insert into ${c.ITEMS} values ($1, 'x')`
    await client.query(insert, [9000])
    const codes = [
      await code(insert, [9000]),
      await code('table nowhere'),
      await code('select 1 / $1::int', [0]),
    ]
    await client.query(`delete from ${c.ITEMS}`)
    return [...codes, await isWell()]
  },
  prepared: () => prepared(() => false),
  prepared_tx: () => prepared((i) => i % 3 !== 2),
  copy,
  large,
  cancel,
  ddl,
  transaction,
  savepoints,
  failed: async () => {
    await client.query('begin')
    const codes = [await code('select 1/0'), await code('select 1')]
    await client.query('rollback')
    return [...codes, await isWell()]
  },
  cursor,
  pool: async () => {
    const pool = new pg.Pool({ max: 2 })
    const sum = await c.work(async (worker) => {
      const one = await pool.connect()
      await one.query('begin')
      const { rows } = await one.query({ name: 'n', text: 'select $1::int as n', values: [worker] })
      await one.query('commit')
      one.release()
      return rows[0].n
    })
    await pool.end()
    return sum
  },
  timeout,
  reconnect,
  listen,
})
await client.end()
