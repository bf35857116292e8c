// A function for AWS Lambda (function URL or API Gateway, payload 2.0): POST adds a note, GET shows the last.
// One HTTP request to pgmux for each, so a container that is frozen between calls holds no connection.
//
// Set PGMUX_URL (https://pgmux.example.com) and DATABASE_URL (postgres://app:secret@db/app; the host is not
// connected to), and upload this file with node_modules/@neondatabase/serverless, on nodejs20.x or later.
import { neon, neonConfig } from '@neondatabase/serverless'

neonConfig.fetchEndpoint = new URL('/sql', process.env.PGMUX_URL).href
const sql = neon(process.env.DATABASE_URL)

export async function handler(event) {
  if (event.requestContext.http.method !== 'POST') {
    return json(200, await sql`select id, body from notes order by id desc limit 10`)
  }
  const { body } = JSON.parse(event.body)
  // One round trip and one transaction: both or neither.
  const [added, [{ count }]] = await sql.transaction(
    [sql`insert into notes (body) values (${body}) returning id`, sql`select count(*)::int from notes`],
    { isolationLevel: 'Serializable' },
  )
  return json(201, { id: added[0].id, count })
}

function json(statusCode, value) {
  return { statusCode, headers: { 'content-type': 'application/json' }, body: JSON.stringify(value) }
}
