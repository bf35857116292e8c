// Users of one's own: whoever is in this table may come in, without a role in Postgres and without a file.
// DATABASE_URL=postgres://app:secret@127.0.0.1:5432/app node users.ts
import { createPooler } from 'pgmux'

/** In earnest: a look into a table, with `await`. A SCRAM verifier will do; pgmux checks the password. */
const USERS = new Map([
  ['ann', 'green'],
  ['ben', 'blue'],
])

const pooler = await createPooler({
  flags: { listen: process.env.LISTEN ?? '127.0.0.1:6432', admin: 'off', serverless: 'off' },
  hooks: {
    authenticate: async ({ user }) => USERS.get(user) ?? null,
  },
})

console.log(`ready on port ${pooler.addresses.postgres.port}`)
process.once('SIGTERM', () => void pooler.stop())
