// What goes on, as lines of JSON: who comes and goes, what is slow, what keeps a server, what was refused.
// DATABASE_URL=postgres://app:secret@127.0.0.1:5432/app node watch.ts
import { createPooler } from 'pgmux'

const SLOW_MS = Number(process.env.SLOW_MS ?? 100)
const say = (what: string, facts: object): void => console.log(JSON.stringify({ what, ...facts }))

const pooler = await createPooler({
  flags: {
    listen: process.env.LISTEN ?? '127.0.0.1:6432',
    admin: 'off',
    serverless: 'off',
    logLevel: 'error',
  },
  hooks: {
    onStatement: ({ ms, ...run }) => {
      if (ms >= SLOW_MS || run.code !== '') say('statement', { ...run, ms: Math.round(ms) })
    },
    onPin: (pin) => say('pin', pin),
  },
})
pooler.on('clientIn', (client) => say('in', client))
pooler.on('clientOut', (client) => say('out', client))
pooler.on('refusal', (refusal) => say('refused', refusal))

console.log(`ready on port ${pooler.addresses.postgres.port}`)
process.once('SIGTERM', () => void pooler.stop())
