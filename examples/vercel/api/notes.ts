// A Vercel function, on the Node or the Edge runtime: GET shows the last notes, POST adds one.
// One HTTP request to pgmux for each, so an instance that sleeps holds no connection.
//
// Set PGMUX_URL (https://pgmux.example.com) and DATABASE_URL (postgres://app:secret@db/app; the host is not
// connected to) in the project's environment variables; `vercel dev` reads them from .env.
import { NeonDbError, neon, neonConfig } from '@neondatabase/serverless'

neonConfig.fetchEndpoint = new URL('/sql', process.env.PGMUX_URL).href
const sql = neon(process.env.DATABASE_URL ?? '')

export async function GET(): Promise<Response> {
  return Response.json(await sql`select id, body from notes order by id desc limit 10`)
}

export async function POST(request: Request): Promise<Response> {
  const { body } = (await request.json()) as { body: string }
  try {
    const [note] = await sql`insert into notes (body) values (${body}) returning id`
    return Response.json(note, { status: 201 })
  } catch (error) {
    // Errors are Postgres' own, with its SQLSTATE: 23514 is the check on the column.
    if (!(error instanceof NeonDbError) || error.code !== '23514') throw error
    return Response.json({ error: 'an empty note' }, { status: 422 })
  }
}
