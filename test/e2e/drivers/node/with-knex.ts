// knex on node-postgres: its query builder, nested transactions, its own pool, streams.
import createKnex, { type Knex } from 'knex'
import * as c from './contract.ts'

function open(more: object = {}, max = 1): Knex {
  const { PGHOST: host, PGPORT, PGUSER: user, PGPASSWORD: password, PGDATABASE: database } = process.env
  const address = { host, port: Number(PGPORT), user, password, database, application_name: c.NAME }
  // Its log would stand between our lines.
  const quiet = () => {}
  return createKnex({
    client: 'pg',
    log: { warn: quiet, error: quiet, deprecate: quiet, debug: quiet },
    connection: { ...address, ...more },
    pool: { min: 0, max },
  } as Knex.Config)
}

const db = open()
const one = async (text: string, values: readonly Knex.RawBinding[] = [], on: Knex = db) =>
  (await on.raw(text, values)).rows[0]
const isWell = async () => (await one('select 1 as n')).n
const insert = (id: number, on: Knex = db) => on(c.ITEMS).insert({ id, body: 'x' })
const count = async () => Number((await db(c.ITEMS).count({ n: '*' }))[0]?.n)

await c.run({
  connect: async () =>
    Object.values(
      await one('select current_user::text, current_setting(?) as e, current_setting(?) as n', [
        'client_encoding',
        'application_name',
      ]),
    ),
  types: async () => {
    await insert(7)
    const rows = await db(c.ITEMS).where({ id: 7 }).select()
    await db(c.ITEMS).delete()
    return [...c.shown(await one(c.LITERALS)), ...rows.flatMap(c.shown)]
  },
  params: async () => {
    const { t, n } = await one('select ?::text as t, ?::text as n', [c.TEXT, null])
    return [t, n, (await one(`select ${c.NUMBERS.map(() => '?::int').join(' + ')} as n`, c.NUMBERS)).n]
  },
  errors: async () => {
    await insert(9000)
    const codes = [
      await c.codeOf(insert(9000)),
      await c.codeOf(db('nowhere').select()),
      await c.codeOf(one('select 1 / ?::int', [0])),
    ]
    await db(c.ITEMS).delete()
    return [...codes, await isWell()]
  },
  large: async () => {
    const { rows } = await db.raw(c.LARGE)
    const { n, m } = await one(c.BIG_SQL.replace('$1', '?'), [c.BIG])
    return [
      [rows.length, c.md5(rows.map(({ t }: { t: string }) => t))],
      [n, m],
    ]
  },
  ddl: async () => {
    const read = async (on: Knex) => Object.keys((await on(c.SHAPE).first()) ?? {}).length
    const reads = [await read(db)]
    await db.schema.alterTable(c.SHAPE, (table) => {
      table.text('extra')
    })
    const other = open()
    reads.push(await read(other))
    await other.destroy()
    return [...reads, await read(db), await read(db)]
  },
  transaction: async () => {
    const pids = await db.transaction(
      async (tx) => {
        await insert(1, tx)
        const pids = new Set()
        for (let i = 0; i < 3; i++) pids.add((await one('select pg_backend_pid() as n', [], tx)).n)
        return pids
      },
      { isolationLevel: 'serializable' },
    )
    const committed = await count()
    const undone = await db.transaction()
    await insert(2, undone)
    await undone.rollback()
    const left = await count()
    await db(c.ITEMS).delete()
    return [committed, left, pids.size === 1]
  },
  savepoints: async () => {
    const failed = await db.transaction(async (tx) => {
      await insert(1, tx)
      const code = await c.codeOf(tx.transaction((inner) => insert(1, inner)))
      await insert(3, tx)
      return code
    })
    const rows = await db(c.ITEMS).delete().returning('id')
    return [failed, rows.map(({ id }) => id)]
  },
  failed: async () => {
    const tx = await db.transaction()
    const codes = [await c.codeOf(one('select 1/0', [], tx)), await c.codeOf(one('select 1', [], tx))]
    await tx.rollback()
    return [...codes, await isWell()]
  },
  cursor: async () => {
    const sizes: number[] = [0]
    let total = 0
    const rows = db.select('i').from(db.raw('generate_series(1, 250) i')).stream({ highWaterMark: 100 })
    for await (const { i } of rows) {
      // The stream gives rows, and asks for a hundred at a time.
      if (sizes.at(-1) === 100) sizes.push(0)
      sizes[sizes.length - 1]!++
      total += i
    }
    return [sizes, total]
  },
  pool: async () => {
    const two = open({}, 2)
    const sum = await c.work((worker) =>
      two.transaction(async (tx) => (await one('select ?::int as n', [worker], tx)).n),
    )
    await two.destroy()
    return sum
  },
  timeout: async () => {
    const inside = db.transaction(async (tx) => {
      await tx.raw('set local statement_timeout = 100')
      await tx.raw('select pg_sleep(5)')
    })
    const local = await c.codeOf(inside)
    const other = open({ statement_timeout: 100 })
    const startup = await c.codeOf(other.raw('select pg_sleep(5)'))
    await other.destroy()
    return [local, startup, await isWell()]
  },
  reconnect: async () => {
    const failed = await c.codeOf(one('select pg_terminate_backend(pg_backend_pid())'))
    return [failed, await c.again(isWell)]
  },
})
await db.destroy()
