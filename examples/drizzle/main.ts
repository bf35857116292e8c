// Drizzle on both ways to pgmux: HTTP for queries and batches, a WebSocket for interactive transactions.
//
//   npm install drizzle-orm @neondatabase/serverless
//   PGMUX_URL=http://127.0.0.1:6480 DATABASE_URL=postgres://app:secret@db/app node main.ts
//
// The host in DATABASE_URL is not connected to. Migrations are the business of drizzle-kit, which speaks TCP:
// give it the port 6432 of pgmux, or `pgmux tunnel`.
import { neon, neonConfig, Pool } from '@neondatabase/serverless'
import { count, desc } from 'drizzle-orm'
import { drizzle as overHttp } from 'drizzle-orm/neon-http'
import { drizzle as overWebSocket } from 'drizzle-orm/neon-serverless'
import { integer, pgTable, text, timestamp } from 'drizzle-orm/pg-core'

const pgmux = new URL(process.env.PGMUX_URL ?? 'http://127.0.0.1:6480')
neonConfig.fetchEndpoint = new URL('/sql', pgmux).href
neonConfig.wsProxy = () => `${pgmux.host}/v2`
neonConfig.useSecureWebSocket = pgmux.protocol === 'https:'

const notes = pgTable('notes', {
  id: integer().generatedAlwaysAsIdentity().primaryKey(),
  body: text().notNull(),
  made: timestamp({ withTimezone: true }).notNull().defaultNow(),
})
const connectionString = process.env.DATABASE_URL ?? ''

const pool = new Pool({ connectionString })
const added = await overWebSocket(pool).transaction(async (tx) => {
  const [note] = await tx.insert(notes).values({ body: 'from drizzle' }).returning({ id: notes.id })
  const [{ total }] = await tx.select({ total: count() }).from(notes)
  return { ...note, total }
})
await pool.end()

const http = overHttp(neon(connectionString))
const [last, [{ total }]] = await http.batch([
  http.select({ id: notes.id, body: notes.body }).from(notes).orderBy(desc(notes.id)).limit(1),
  http.select({ total: count() }).from(notes),
])
console.log(JSON.stringify({ added, last, total }))
