// The unnamed statement, whose life crosses exchanges and servers, held against a direct connection (RULES
// 15).
import { describe, it } from 'node:test'
import { assertSame, stage, transactionStages } from '../support/compare.ts'
import * as m from '../support/messages.ts'
import { getPostgres } from '../support/postgres.ts'

const postgres = await getPostgres()
const stages = await transactionStages(postgres)
const session = await stage(postgres, 'session mode', { pool: { mode: 'session', size: 3 } })
const statement = await stage(postgres, 'statement mode', { pool: { mode: 'statement', size: 1 } })
const all = [...stages, session, statement]

const run = (name: string, params: (string | null)[] = []) => [
  m.bind({ statement: name, params }),
  m.describe('P'),
  m.execute(),
  m.sync(),
]

describe('the unnamed statement', () => {
  it('lives on in the next exchange, whoever used the server between', () =>
    assertSame(postgres, all, async (client, rival) => {
      await client.run(m.parse('select $1::int + 1'), m.describe('S'), m.sync())
      await rival()
      await client.run(...run('', ['41']))
      await rival()
      await client.run(m.describe('S'), m.sync())
      await rival()
      await client.run(...run('', ['1']))
    }))

  it('goes with a simple Query, with a failed Parse, with Close', () =>
    assertSame(postgres, all, async (client, rival) => {
      const drops = [
        [m.query('select 0')],
        [m.query('')],
        [m.parse('selekt'), m.sync()],
        [m.close('S'), m.sync()],
      ]
      for (const dropped of drops) {
        await client.run(m.parse('select 1'), m.sync())
        await client.run(...dropped)
        await rival()
        await client.run(...run(''))
        await client.run(m.describe('S'), m.sync())
      }
    }))

  it("is nobody else's", () =>
    assertSame(postgres, all, async (client, rival) => {
      await rival()
      await client.run(...run(''))
      await rival()
      await client.run(m.describe('S'), m.sync())
      await rival()
      await client.run(m.bind({ statement: 'nobody' }), m.bind(), m.sync())
      await client.run(...run(''))
      await client.run(...run(''))
    }))

  it('a skipped Parse changes nothing', () =>
    assertSame(postgres, all, async (client, rival) => {
      await client.run(m.parse('select 1'), m.sync())
      await rival()
      await client.run(m.bind({ statement: 'nobody' }), m.parse('select 2'), m.sync())
      await rival()
      await client.run(...run(''))
    }))

  it('pipelined behind messages that are skipped', () =>
    assertSame(postgres, all, async (client, rival) => {
      await client.run(m.parse('select 1'), m.sync())
      const nobody = m.bind({ statement: 'nobody' })
      const batches = [
        [nobody, m.bind(), m.sync(), ...run('')],
        [nobody, m.parse('select 2'), m.sync(), ...run('')],
        [nobody, m.close('S'), m.sync(), ...run('')],
        [nobody, m.parse('select 3'), m.sync(), m.parse('select 4'), m.sync(), ...run('')],
        [m.parse('selekt'), m.sync(), ...run('')],
        [nobody, m.bind(), m.sync(), ...run('')],
      ]
      for (const batch of batches) {
        await rival()
        client.send(...batch)
        for (const bytes of batch) if (bytes[0] === 0x53) await client.until('Z')
      }
    }))

  it('in a failed transaction', () =>
    assertSame(postgres, [...stages, session], async (client, rival) => {
      await client.run(m.parse('select 1'), m.sync())
      await rival()
      await client.query('begin')
      await client.run(m.parse('select 1/0'), ...run(''))
      await client.run(...run(''))
      await client.run(m.parse('rollback'), ...run(''))
      await client.run(...run(''))
    }))
})
