// A Cloudflare Worker: GET shows the last notes over HTTP, POST adds one in an interactive transaction over a
// WebSocket. A Worker may not keep a connection from one request to the next, so each opens its own; behind
// pgmux that opens none to Postgres.
//
//   npm install @neondatabase/serverless
//   npx wrangler secret put DATABASE_URL      postgres://app:secret@db/app; the host is not connected to
//   npx wrangler deploy                       with PGMUX_URL in wrangler.toml
import { neon, neonConfig, Pool } from '@neondatabase/serverless'

export default {
  async fetch(request, env, context) {
    const pgmux = new URL(env.PGMUX_URL)
    neonConfig.fetchEndpoint = new URL('/sql', pgmux).href
    neonConfig.wsProxy = () => `${pgmux.host}/v2`
    neonConfig.useSecureWebSocket = pgmux.protocol === 'https:'

    if (request.method !== 'POST') {
      const sql = neon(env.DATABASE_URL)
      return Response.json(await sql`select id, body from notes order by id desc limit 10`)
    }
    const { body } = await request.json()
    const pool = new Pool({ connectionString: env.DATABASE_URL })
    try {
      return Response.json(await add(pool, body), { status: 201 })
    } finally {
      // The answer need not wait for the goodbye.
      context.waitUntil(pool.end())
    }
  },
}

async function add(pool, body) {
  const client = await pool.connect()
  try {
    await client.query('begin')
    const { rows } = await client.query('insert into notes (body) values ($1) returning id', [body])
    const { rows: counted } = await client.query('select count(*)::int from notes')
    await client.query('commit')
    return { id: rows[0].id, count: counted[0].count }
  } catch (error) {
    await client.query('rollback').catch(() => {})
    throw error
  } finally {
    client.release()
  }
}
