// A server for Deno: GET shows the last notes over HTTP, POST adds one over a WebSocket from a pool.
//
//   deno add npm:@neondatabase/serverless
//   PGMUX_URL=http://127.0.0.1:6480 DATABASE_URL=postgres://app:secret@db/app deno serve -E -N main.ts
//
// The host in DATABASE_URL is not connected to.
import { neon, neonConfig, Pool } from '@neondatabase/serverless'
import process from 'node:process'

const pgmux = new URL(process.env.PGMUX_URL ?? 'http://127.0.0.1:6480')
neonConfig.fetchEndpoint = new URL('/sql', pgmux).href
neonConfig.wsProxy = () => `${pgmux.host}/v2`
neonConfig.useSecureWebSocket = pgmux.protocol === 'https:'

const connectionString = process.env.DATABASE_URL ?? ''
const sql = neon(connectionString)
const pool = new Pool({ connectionString, max: 5 })
// A connection that breaks while nobody uses it is told here; without this it would end the process.
pool.on('error', (error: Error) => console.error(`a connection was lost: ${error.message}`))

export default {
  async fetch(request: Request): Promise<Response> {
    if (request.method !== 'POST') {
      return Response.json(await sql`select id, body from notes order by id desc limit 10`)
    }
    const { body } = (await request.json()) as { body: string }
    const { rows } = await pool.query('insert into notes (body) values ($1) returning id', [body])
    return Response.json(rows[0], { status: 201 })
  },
}
