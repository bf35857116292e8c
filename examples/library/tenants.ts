// A database for each tenant: clients name their tenant, and this program knows where it lives.
// DATABASE_URL=postgres://app:secret@127.0.0.1:5432/app node tenants.ts
import { ClientRefused, createPooler } from 'pgmux'

/** In earnest: a look into a table of tenants. */
const TENANTS = new Map([
  ['acme', 'postgres'],
  ['globex', 'template1'],
])

const pooler = await createPooler({
  flags: { listen: process.env.LISTEN ?? '127.0.0.1:6432', admin: 'off', serverless: 'off' },
  hooks: {
    route: async ({ database }) => {
      const found = TENANTS.get(database)
      // The client reads this.
      if (found === undefined) throw new ClientRefused(`there is no tenant "${database}"`)
      return found
    },
  },
})

console.log(`ready on port ${pooler.addresses.postgres.port}`)
process.once('SIGTERM', () => void pooler.stop())
