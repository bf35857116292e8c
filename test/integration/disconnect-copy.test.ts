// A COPY IN whose client goes at any byte of it: all rows are there, or none (hazard K04).
import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import * as m from '../support/messages.ts'
import { getPostgres } from '../support/postgres.ts'
import { Prng } from '../support/prng.ts'
import { Rig } from '../support/rig.ts'

const postgres = await getPostgres()
const rig = await Rig.start(postgres, { pool: { size: 1 }, client: { abandonGraceMs: 300 } })
await rig.see('create table bulk (n int unique, filling text)')

describe('a COPY IN that is cut off at any byte', () => {
  const lines = Array.from({ length: 500 }, (_all, n) => `${n}\t${'f'.repeat(n % 90)}\n`)
  const data = lines.map((line) => m.copyData(line))
  const simple = Buffer.concat([m.query('copy bulk from stdin'), ...data, m.copyDone()])
  const extended = Buffer.concat([
    m.parse('copy bulk from stdin'),
    m.bind(),
    m.execute(),
    ...data,
    m.copyDone(),
    m.sync(),
  ])
  const early = Buffer.concat([
    m.parse('copy bulk from stdin'),
    m.bind(),
    m.execute(),
    m.sync(),
    ...data,
    m.copyDone(),
    m.sync(),
  ])

  for (const [name, bytes] of Object.entries({ simple, extended, 'Sync in front': early })) {
    it(`${name}: all rows or none`, async () => {
      const random = new Prng(7)
      const cuts = Array.from({ length: 20 }, () => random.between(0, bytes.length))
      const edges = [0, 1, 5, 12, 13, 18].map((back) => bytes.length - back)
      for (const cut of [...cuts, ...edges]) {
        const client = await rig.client()
        await client.sendCut(bytes.subarray(0, cut), [random.between(0, cut)])
        if (random.chance(0.5)) client.destroy()
        else client.halfClose()
        await client.closed
        await rig.quiet()
        const count = await rig.value('select count(*) from bulk')
        assert.ok(count === '0' || count === '500', `cut at ${cut} of ${bytes.length}: ${count} rows`)
        if (cut < bytes.length - 5) assert.equal(count, '0', `cut at ${cut} of ${bytes.length}`)
        await rig.see('truncate bulk')
      }
      await rig.healthy()
    })
  }
})
