// A client that goes, at every moment: the server that worked for it is clean and used again, or closed;
// whole requests are finished, half ones undone; nobody else notices (RULES 23, DESIGN section 4).
import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import * as m from '../support/messages.ts'
import { getPostgres, notRun } from '../support/postgres.ts'
import { Prng } from '../support/prng.ts'
import { eventually, Rig } from '../support/rig.ts'
import { ON_WEB, OVER_WEB } from '../support/web-socket.ts'
import type { WireClient } from '../support/wire-client.ts'

const ABANDON_MS = 300
/** The pooler looks at its clock this often. */
const CLOCK_STEP_MS = 60

const postgres = await getPostgres()
const rig = await Rig.start(postgres, {
  pool: { mode: 'transaction', size: 1 },
  client: { abandonGraceMs: ABANDON_MS },
})
await rig.see('create table marks (mark text)')

const marks = (mark: string) => rig.value(`select count(*) from marks where mark = '${mark}'`)

type Way = [name: string, go: (client: WireClient) => Promise<unknown>]
const WAYS: Way[] = [
  ['Terminate', (client) => client.end()],
  [
    'a reset connection',
    (client) => {
      client.destroy()
      return client.closed
    },
  ],
  [
    'a FIN',
    (client) => {
      client.halfClose()
      return client.closed
    },
  ],
]

/** What a client has done when it goes, and whether the design keeps the server. */
interface Moment {
  readonly name: string
  readonly keeps: boolean
  /** The only way to go from there. */
  readonly only?: string
  prepare(client: WireClient): Promise<unknown>
}

const insert = (mark: string) => `insert into marks values ('${mark}')`

const MOMENTS: Moment[] = [
  { name: 'idle', keeps: true, prepare: async () => {} },
  { name: 'in a transaction', keeps: true, prepare: (client) => client.query(`begin; ${insert('x')}`) },
  {
    name: 'in a failed transaction',
    keeps: true,
    prepare: (client) => client.query(`begin; ${insert('x')}; select 1/0`),
  },
  {
    name: 'behind a Parse without Sync',
    keeps: true,
    prepare: async (client) => {
      client.send(m.parse(insert('x')), m.flush())
      await client.until('1')
    },
  },
  {
    name: 'behind Parse, Bind and Execute without Sync',
    keeps: true,
    prepare: async (client) => {
      client.send(m.parse(insert('x')), m.bind(), m.execute(), m.flush())
      await client.until('C')
    },
  },
  {
    name: 'behind a named Parse, Bind and Execute without Flush or Sync',
    keeps: true,
    prepare: async (client) => {
      client.send(m.parse(insert('x'), { name: 'n' }), m.bind({ statement: 'n' }), m.execute())
    },
  },
  {
    name: 'in a batch that has failed',
    keeps: true,
    prepare: async (client) => {
      client.send(m.parse('select nonsense from nowhere'), m.bind(), m.execute(), m.flush())
      await client.until('E')
    },
  },
  {
    name: 'in a batch that has failed unseen',
    keeps: true,
    prepare: async (client) => {
      client.send(
        m.parse(insert('x')),
        m.bind(),
        m.execute(),
        m.parse('select nonsense'),
        m.bind(),
        m.execute(),
      )
    },
  },
  {
    name: 'in a batch inside a transaction',
    keeps: true,
    prepare: async (client) => {
      await client.query('begin')
      client.send(m.parse(insert('x')), m.bind(), m.execute(), m.flush())
      await client.until('C')
    },
  },
  {
    name: 'with a suspended portal',
    keeps: true,
    prepare: async (client) => {
      await client.query('begin')
      client.send(
        m.parse('select generate_series(1, 10)'),
        m.bind({ portal: 'p' }),
        m.execute('p', 2),
        m.flush(),
      )
      await client.until('s')
    },
  },
  {
    name: 'in half a message',
    keeps: false,
    prepare: async (client) =>
      client.send(m.query(`${insert('x')} -- ${'x'.repeat(400_000)}`).subarray(0, 50_000)),
  },
  {
    name: 'in half a header',
    keeps: true,
    prepare: async (client) => client.send(m.query(insert('x')).subarray(0, 3)),
  },
  {
    name: 'in COPY IN',
    keeps: true,
    prepare: async (client) => {
      client.send(m.query('copy marks from stdin'))
      await client.until('G')
      client.send(m.copyData('x\nx\n'))
    },
  },
  {
    name: 'in COPY IN before Postgres has answered',
    keeps: true,
    prepare: async (client) => client.send(m.query('copy marks from stdin'), m.copyData('x\n')),
  },
  {
    name: 'in COPY IN of a batch',
    keeps: true,
    prepare: async (client) => {
      client.send(m.parse('copy marks from stdin'), m.bind(), m.execute(), m.flush())
      await client.until('G')
      client.send(m.copyData('x\nx\n'))
    },
  },
  {
    name: 'in COPY IN of a batch before Postgres has answered',
    keeps: true,
    prepare: async (client) =>
      client.send(m.parse('copy marks from stdin'), m.bind(), m.execute(), m.copyData('x\n')),
  },
  {
    name: 'in COPY IN of a batch whose Sync came first',
    keeps: true,
    prepare: async (client) => {
      client.send(m.parse('copy marks from stdin'), m.bind(), m.execute(), m.sync())
      await client.until('G')
      client.send(m.copyData('x\nx\n'))
    },
  },
  {
    name: 'in COPY IN of a batch with its Sync before Postgres has answered',
    keeps: true,
    prepare: async (client) => client.send(m.parse('copy marks from stdin'), m.bind(), m.execute(), m.sync()),
  },
  {
    name: 'in COPY IN of a batch behind its CopyDone',
    keeps: true,
    prepare: async (client) => {
      client.send(m.parse('copy marks from stdin'), m.bind(), m.execute(), m.flush())
      await client.until('G')
      client.send(m.copyData('x\n'), m.copyDone())
    },
  },
  {
    name: 'in COPY OUT',
    keeps: true,
    prepare: async (client) => {
      client.send(m.query('copy (select generate_series(1, 300000)) to stdout'))
      await client.until('d')
    },
  },
  {
    name: 'reading rows',
    keeps: true,
    prepare: async (client) => {
      client.send(m.query(`select repeat('x', 1000) from generate_series(1, 50000)`))
      await client.until('D')
    },
  },
  {
    name: 'having stopped to read',
    keeps: true,
    only: 'a reset connection',
    prepare: async (client) => {
      client.pause()
      client.send(m.query(`select repeat('x', 1000) from generate_series(1, 30000)`))
      await rig.running('%repeat%')
    },
  },
  {
    name: 'running',
    keeps: true,
    prepare: async (client) => {
      client.send(m.query('select pg_sleep(0.05)'))
      await rig.running('%pg_sleep%')
    },
  },
]

describe('a client that goes', () => {
  for (const moment of MOMENTS) {
    it(moment.name, async () => {
      for (const [way, go] of WAYS.filter(([name]) => name === (moment.only ?? name))) {
        const before = await rig.healthy()
        const client = await rig.client()
        await moment.prepare(client)
        await go(client)
        const pids = await rig.quiet()
        assert.equal(await marks('x'), '0', way)
        const after = await rig.healthy()
        if (moment.keeps) {
          assert.deepEqual(pids, [before], `${way}: the server is kept`)
          assert.equal(after, before, way)
        } else assert.notEqual(after, before, `${way}: the server is closed`)
      }
    })
  }

  it('waiting: leaves the queue, and its statement never runs', async () => {
    for (const [way, go] of WAYS.slice(1)) {
      await using holder = await rig.client()
      await holder.query('begin')
      const waiter = await rig.client()
      waiter.send(m.query(insert('waited')))
      await eventually(() => rig.test.pooler.gauges().waiting === 1)
      await go(waiter)
      await eventually(() => rig.test.pooler.gauges().waiting === 0)
      await holder.query('commit')
      assert.equal(await marks('waited'), '0', way)
    }
    await rig.quiet()
  })
})

describe('what a client had asked for before it said goodbye', () => {
  it('an INSERT and Terminate in one write is committed', async () => {
    for (const request of [
      m.query(`select pg_sleep(${(2 * ABANDON_MS) / 1000}); ${insert('goodbye')}`),
      Buffer.concat([m.parse(insert('goodbye')), m.bind(), m.execute(), m.sync()]),
    ]) {
      const client = await rig.client()
      client.send(request, m.terminate())
      client.halfClose()
      await client.closed
      await rig.quiet()
    }
    assert.equal(await marks('goodbye'), '2')
  })

  it('also behind an open transaction: its COMMIT counts', async () => {
    const client = await rig.client()
    await client.query('begin')
    client.send(m.query(insert('commit')), m.query('commit'), m.terminate())
    await client.closed
    await rig.quiet()
    assert.equal(await marks('commit'), '1')
  })

  it('also where it still waited for a server', async () => {
    await using holder = await rig.client()
    await holder.query('begin')
    const waiter = await rig.client()
    waiter.send(m.query(insert('patient')), m.terminate())
    waiter.halfClose()
    await eventually(() => rig.test.pooler.gauges().waiting === 1)
    await holder.query('commit')
    await waiter.closed
    await eventually(async () => (await marks('patient')) === '1')
  })

  it('complete batches are done, the half one behind them is not', async () => {
    const client = await rig.client()
    const batch = (mark: string) => [m.parse(insert(mark)), m.bind(), m.execute()]
    client.send(...batch('whole'), m.sync(), ...batch('half'))
    await client.end()
    await rig.quiet()
    assert.equal(await marks('whole'), '1')
    assert.equal(await marks('half'), '0')
  })

  it('a lost connection: what runs is cancelled after the grace, not before', async () => {
    for (const [way, go] of WAYS.slice(1)) {
      const client = await rig.client()
      client.send(m.query('select pg_sleep(60)'))
      await rig.running('%pg_sleep(60)%')
      const since = performance.now()
      const gone = go(client)
      const [pid] = await rig.quiet()
      const tookMs = performance.now() - since
      assert.ok(
        tookMs >= ABANDON_MS - CLOCK_STEP_MS && tookMs < ABANDON_MS + 1000,
        `${way}: cancelled after ${tookMs} ms`,
      )
      await gone
      assert.equal(await rig.healthy(), pid)
    }
  })

  it('a half-closed client still gets its answer', async (t) => {
    if (OVER_WEB) return notRun(t, ON_WEB)
    const client = await rig.client()
    client.send(m.query('select pg_sleep(0.05), 7'))
    client.halfClose()
    const [, row] = await client.until('Z')
    assert.equal(row?.type, 'D')
    await client.closed
    await rig.quiet()
  })
})

describe('a connection that never logs in', () => {
  const first = () => m.startup({ user: postgres.user, database: postgres.database })

  it('leaves nothing behind, wherever it stops', async () => {
    const packet = first()
    for (const [way, go] of WAYS.slice(1)) {
      for (const bytes of [Buffer.alloc(0), packet.subarray(0, 1), packet.subarray(0, 9), m.sslRequest()]) {
        const stranger = await rig.stranger()
        if (bytes.length > 0) stranger.send(bytes)
        await go(stranger)
      }
      const inSasl = await rig.stranger()
      inSasl.send(packet)
      await inSasl.until('R')
      await go(inSasl)
      const begun = await rig.stranger()
      begun.send(packet)
      await begun.until('R')
      begun.send(m.saslInitialResponse('SCRAM-SHA-256', 'n,,n=,r=abcdefghijklmnop'))
      await begun.until('RE')
      await go(begun)
      const nobody = { login: 0, idle: 0, active: 0, waiting: 0 }
      await eventually(() => assert.deepEqual(rig.test.pooler.gauges().clients, nobody, way))
    }
  })
})

describe('many clients that go at random', () => {
  it('leave healthy servers and no open transaction', async () => {
    const busy = await Rig.start(postgres, {
      pool: { mode: 'transaction', size: 3 },
      client: { abandonGraceMs: 50 },
    })
    const random = new Prng(11)
    const one = async () => {
      const client = await busy.client()
      const moment = random.pick(MOMENTS)
      // These two look for their own statement, and here are many clients.
      if (moment.only !== undefined || moment.name === 'running') return client.end()
      await moment.prepare(client)
      const [, go] = random.pick(WAYS)
      return go(client)
    }
    for (let round = 0; round < 15; round++) await Promise.all(Array.from({ length: 8 }, one))
    const pids = await busy.quiet()
    assert.equal(await marks('x'), '0')
    const { clients, servers, waiting } = busy.test.pooler.gauges()
    assert.deepEqual({ ...clients, waiting }, { login: 0, idle: 0, active: 0, waiting: 0 })
    assert.ok(servers.idle <= 3)
    assert.equal(servers.idle + rig.test.pooler.gauges().servers.idle, pids.length)
    await busy.healthy()
  })
})
