// Options of single databases and users, and small ones of the process: each does what it says, and the
// user's counts before the database's, which counts before the one for all.
import assert from 'node:assert/strict'
import { mkdtempSync, rmSync, statSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, describe, it } from 'node:test'
import type { DatabaseConfig, UserConfig } from '../../src/config/types.ts'
import * as m from '../support/messages.ts'
import type { Overrides } from '../support/pooler.ts'
import { getPostgres } from '../support/postgres.ts'
import { eventually, Rig } from '../support/rig.ts'
import type { WireClient } from '../support/wire-client.ts'

const postgres = await getPostgres()
const LONG = 3_600_000

/** `alice` has options of her own; she logs in to the database `app` as the superuser of the tests. */
function asAlice(user: Omit<UserConfig, 'secret'>, database: DatabaseConfig = {}): Overrides {
  const { user: name, password, database: dbname } = postgres
  return {
    databases: new Map([['app', { dbname, user: name, password, ...database }]]),
    users: new Map([
      ['alice', { secret: 'one', ...user }],
      ['bob', { secret: 'two' }],
    ]),
  }
}

const ALICE = { user: 'alice', password: 'one', database: 'app' }
const BOB = { user: 'bob', password: 'two', database: 'app' }

async function withRig(overrides: Overrides, run: (rig: Rig) => Promise<void>): Promise<void> {
  const rig = await Rig.start(postgres, overrides)
  try {
    await run(rig)
  } finally {
    await rig.stop()
  }
}

/** SQLSTATE of the error with which a client waits in vain for a server. */
async function waitsInVain(rig: Rig, options: object): Promise<string> {
  await using holder = await rig.client(options)
  await using waiting = await rig.client(options)
  await holder.query('begin')
  const { error } = await waiting.query('select 1')
  return error?.code ?? ''
}

describe('times of one user', () => {
  it('idle_timeout, idle_transaction_timeout, transaction_timeout: 57P05, 25P03, 25P04', async () => {
    for (const [own, sql, code] of [
      [{ idleTimeoutMs: 400 }, 'select 1', '57P05'],
      [{ idleTransactionTimeoutMs: 400 }, 'begin', '25P03'],
      [{ transactionTimeoutMs: 400 }, 'begin', '25P04'],
    ] as const) {
      await withRig(asAlice(own), async (rig) => {
        const [alice, bob] = [await rig.client(ALICE), await rig.client(BOB)]
        for (const client of [alice, bob]) await client.query(sql)
        const [error] = await alice.untilClosed()
        assert.equal(error?.type === 'E' && error.code, code)
        assert.equal((await bob.query('select 1')).error, null)
        await bob.end()
      })
    }
  })

  it('query_timeout: the query of this user is cancelled; 0 takes the limit of all away', async () => {
    await withRig(asAlice({ queryTimeoutMs: 50 }), async (rig) => {
      await using alice = await rig.client(ALICE)
      await using bob = await rig.client(BOB)
      bob.send(m.query('select pg_sleep(0.3)'))
      assert.equal((await alice.query('select pg_sleep(60)')).error?.code, '57014')
      const told = await bob.until('Z')
      assert.ok(told.every(({ type }) => type !== 'E'))
    })
    await withRig({ ...asAlice({ queryTimeoutMs: 0 }), client: { queryTimeoutMs: 50 } }, async (rig) => {
      await using alice = await rig.client(ALICE)
      await using bob = await rig.client(BOB)
      assert.equal((await alice.query('select pg_sleep(0.3)')).error, null)
      assert.equal((await bob.query('select pg_sleep(60)')).error?.code, '57014')
    })
  })

  it('query_wait_timeout: of the user, before the one of the database, before the one of all', async () => {
    const pool = { size: 1, queryWaitTimeoutMs: LONG }
    await withRig(
      { pool, ...asAlice({ queryWaitTimeoutMs: 500 }, { queryWaitTimeoutMs: LONG }) },
      async (rig) => {
        assert.equal(await waitsInVain(rig, ALICE), '53300')
      },
    )
    await withRig({ pool, ...asAlice({}, { queryWaitTimeoutMs: 500 }) }, async (rig) => {
      assert.equal(await waitsInVain(rig, BOB), '53300')
    })
  })

  it('reserve_size: this user has a reserve', async () => {
    const pool = { size: 1, reserveTimeoutMs: 20, queryWaitTimeoutMs: 500 }
    await withRig({ pool, ...asAlice({ reserveSize: 1 }) }, async (rig) => {
      assert.equal(await waitsInVain(rig, ALICE), '')
      assert.equal(await waitsInVain(rig, BOB), '53300')
    })
  })
})

describe('options of one database', () => {
  it('server_lifetime', async () => {
    await withRig(asAlice({}, { serverLifetimeMs: 50 }), async (rig) => {
      await using client = await rig.client(BOB)
      await client.query('select 1')
      await eventually(async () => assert.deepEqual(await rig.backends(), []))
    })
  })

  for (const poolMode of ['transaction', 'session'] as const) {
    it(`connect_query, ${poolMode} mode: on each server; clients begin with what it sets`, async () => {
      const connectQuery = "set work_mem = '7MB'; set timezone = 'Asia/Tokyo'; select 1"
      const overrides = { pool: { size: 1 }, ...asAlice({}, { connectQuery, poolMode }) }
      await withRig(overrides, async (rig) => {
        for (let round = 0; round < 2; round++) {
          await using client = await rig.client(BOB)
          assert.equal(client.parameters.get('TimeZone'), 'Asia/Tokyo')
          const { rows } = await client.query(
            "select current_setting('work_mem'), current_setting('timezone')",
          )
          assert.deepEqual(rows, [['7MB', 'Asia/Tokyo']])
          await client.end()
          await rig.quiet()
        }
      })
    })
  }

  it('connect_query that fails, or leaves a transaction open: logged, and the server is used', async () => {
    for (const connectQuery of ['select 1/0', 'begin', 'begin; select 1/0']) {
      await withRig(asAlice({}, { connectQuery }), async (rig) => {
        await using client = await rig.client(BOB)
        const { error, status } = await client.query('select 1')
        assert.deepEqual([error, status], [null, 'I'])
        const lines = rig.test.lines.filter(({ message }) => message.includes('connect_query failed: 22012'))
        assert.equal(lines.length, connectQuery.includes('0') ? 1 : 0)
      })
    }
  })
})

describe('small options of the process', () => {
  it('pool.server_round_robin: all servers in turn, not always the same', async () => {
    for (const [serverRoundRobin, count] of [
      [true, 3],
      [false, 1],
    ] as const) {
      await withRig({ pool: { size: 3, serverRoundRobin } }, async (rig) => {
        const clients = await Promise.all([1, 2, 3].map(() => rig.client()))
        await Promise.all(clients.map((client) => client.query('select pg_sleep(0.2)')))
        await rig.quiet()
        const pids = new Set<number>()
        for (let round = 0; round < 6; round++) pids.add(await rig.pidOf(clients[0]!))
        assert.equal(pids.size, count)
        await Promise.all(clients.map((client) => client.end()))
      })
    }
  })

  it('client.wait_notice: one notice for each long wait, and the answer after it', async () => {
    await withRig({ pool: { size: 1 }, client: { waitNoticeMs: 50 } }, async (rig) => {
      await using holder = await rig.client()
      await using waiting = await rig.client()
      for (let round = 0; round < 2; round++) {
        await holder.query('begin')
        waiting.send(m.query('select 5'))
        const [notice] = await waiting.until('N')
        assert.equal(notice?.type === 'N' && notice.code, '00000')
        await new Promise((resolve) => setTimeout(resolve, 150))
        await holder.query('commit')
        const rest = await waiting.until('Z')
        assert.deepEqual(
          rest.map(({ type }) => type),
          ['T', 'D', 'C', 'Z'],
        )
      }
    })
  })

  it('client.add_address: application_name says where the client is', async () => {
    await withRig({ client: { addAddress: true } }, async (rig) => {
      await using named = await rig.client({ params: { application_name: 'shop' } })
      await using nameless = await rig.client()
      const name = async (client: WireClient) =>
        (await client.query("select current_setting('application_name')")).rows[0]?.[0] ?? ''
      assert.match(await name(named), /^shop - 127\.0\.0\.1:\d+$/)
      assert.match(await name(nameless), /^127\.0\.0\.1:\d+$/)
    })
  })

  it('listen.host: several addresses, one port; listen.unix_socket_group', async () => {
    const folder = mkdtempSync(join(tmpdir(), 'pgmux-options-'))
    after(() => rmSync(folder, { recursive: true, force: true }))
    const group = process.getgid?.() ?? 0
    const unix = { unixSocketDir: folder, unixSocketMode: 0o770, unixSocketGroup: String(group) }
    await withRig({ listen: { hosts: ['127.0.0.1', '127.0.0.2'], ...unix } }, async (rig) => {
      for (const host of ['127.0.0.1', '127.0.0.2', folder]) {
        await using client = await rig.client({ host })
        assert.equal((await client.query('select 1')).error, null, host)
      }
      const file = statSync(rig.test.pooler.addresses.unixSocket)
      assert.deepEqual([file.gid, file.mode & 0o777], [group, 0o770])
    })
    const nobody = { listen: { ...unix, unixSocketGroup: 'no-such-group' } }
    await assert.rejects(Rig.start(postgres, nobody), /cannot listen on .*no-such-group does not exist/)
  })

  it('log.connections, log.disconnections: lines at level info, with reason and age', async () => {
    for (const isOn of [true, false]) {
      await withRig({ log: { connections: isOn, disconnections: isOn } }, async (rig) => {
        const client = await rig.client()
        await client.end()
        const line = (text: string) => rig.test.lines.find(({ message }) => message === text)
        await eventually(() => line('client left') !== undefined)
        assert.equal(line('client logged in')?.level, isOn ? 'info' : 'debug')
        assert.equal(line('client left')?.level, isOn ? 'info' : 'debug')
        const { reason, age_s } = line('client left')?.fields ?? {}
        assert.deepEqual([reason, typeof age_s], ['the client said goodbye', 'number'])
      })
    }
  })

  it('log.stats_period: a line of averages while there is traffic', async () => {
    await withRig({ log: { statsPeriodMs: 200 } }, async (rig) => {
      await using client = await rig.client()
      const lines = () => rig.test.lines.filter(({ message }) => message === 'averages')
      await eventually(async () => {
        assert.equal((await client.query('select 1')).error, null)
        return lines().some(({ fields }) => Number(fields.queries_s) > 0 && fields.clients === 1)
      })
      await client.end()
      await eventually(() => rig.test.pooler.gauges().clients.idle === 0)
    })
    await withRig({ log: { statsPeriodMs: 0 } }, async (rig) => {
      await using client = await rig.client()
      await client.query('select pg_sleep(0.3)')
      assert.ok(rig.test.lines.every(({ message }) => message !== 'averages'))
    })
  })
})
