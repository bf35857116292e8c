// Kysely over WebSockets to pgmux: its dialect for Postgres takes the driver's pool as it is.
//
//   npm install kysely @neondatabase/serverless
//   PGMUX_URL=http://127.0.0.1:6480 DATABASE_URL=postgres://app:secret@db/app node main.ts
//
// The host in DATABASE_URL is not connected to.
import { neonConfig, Pool } from '@neondatabase/serverless'
import { type Generated, Kysely, PostgresDialect } from 'kysely'

const pgmux = new URL(process.env.PGMUX_URL ?? 'http://127.0.0.1:6480')
neonConfig.wsProxy = () => `${pgmux.host}/v2`
neonConfig.useSecureWebSocket = pgmux.protocol === 'https:'

interface Database {
  notes: { id: Generated<number>; body: string; made: Generated<Date> }
}

const pool = new Pool({ connectionString: process.env.DATABASE_URL ?? '' })
const db = new Kysely<Database>({ dialect: new PostgresDialect({ pool }) })

const added = await db.transaction().execute(async (tx) => {
  const note = await tx
    .insertInto('notes')
    .values({ body: 'from kysely' })
    .returning('id')
    .executeTakeFirstOrThrow()
  const { total } = await tx
    .selectFrom('notes')
    .select(({ fn }) => fn.countAll<string>().as('total'))
    .executeTakeFirstOrThrow()
  return { ...note, total: Number(total) }
})
const last = await db.selectFrom('notes').select(['id', 'body']).orderBy('id', 'desc').limit(1).execute()
await db.destroy()
console.log(JSON.stringify({ added, last }))
