// Faults of clients and of our own code: a client that is killed with a cancel on its way or with a server of
// its own (F23), a storm of failed logins in the log (F29), a handler that throws (F35). Who is killed
// elsewhere, sends nonsense or too slowly: disconnect, hostile-client and timeouts.
import assert from 'node:assert/strict'
import { afterEach, describe, it } from 'node:test'
import { Healthy } from '../support/healthy.ts'
import { through } from '../support/compare.ts'
import * as m from '../support/messages.ts'
import { getPostgres } from '../support/postgres.ts'
import { eventually, Rig } from '../support/rig.ts'
import { assertFullStrength } from '../support/strength.ts'
import { LoginError, type WireClient } from '../support/wire-client.ts'

const ABANDON_MS = 300
/** After the grace; the rest is for a busy machine. */
const CLEAN_MS = 1000

const postgres = await getPostgres()
const rig = await Rig.start(postgres, { pool: { size: 2 }, client: { abandonGraceMs: ABANDON_MS } })
await rig.see('create table kept (t text)')

/** Of what a client leaves in its session nothing is there. */
const LEFT = `select (select count(*) from pg_locks where locktype = 'advisory')
  + (select count(*) from pg_stat_activity where xact_start is not null and pid <> pg_backend_pid()
     and application_name not in ('observer of the tests', 'pgmux listen')
     and backend_type = 'client backend')`

describe('a client that is killed (F23)', () => {
  const MOMENTS: [string, (client: WireClient) => Promise<unknown>][] = [
    [
      'with its cancel on the way',
      async (client) => {
        client.send(m.query('select pg_sleep(60)'))
        await rig.running('%pg_sleep(60)%')
        void client.cancel()
      },
    ],
    ['who listens', (client) => client.query('listen somebody')],
    [
      'who listens, in a transaction',
      (client) => client.query("listen somebody; begin; insert into kept values ('x')"),
    ],
    ['pinned by PREPARE', (client) => client.query('prepare mine as select 1')],
    ['pinned by another session user', (client) => client.query('set session authorization pg_monitor')],
    [
      'pinned, in half a batch',
      async (client) => {
        await client.query('select pg_advisory_lock(7)')
        client.send(m.parse("insert into kept values ('x')"), m.bind(), m.execute(), m.flush())
        await client.until('C')
      },
    ],
    [
      'pinned, while it runs',
      async (client) => {
        await client.query('select pg_advisory_lock(7)')
        client.send(m.query('select pg_sleep(60), 1'))
        await rig.running('%pg_sleep(60), 1%')
      },
    ],
  ]
  for (const [moment, prepare] of MOMENTS) {
    it(moment, async () => {
      for (const way of ['reset', 'closed'] as const) {
        const client = await rig.client()
        await prepare(client)
        const since = performance.now()
        if (way === 'reset') client.destroy()
        else client.halfClose()
        await rig.quiet(ABANDON_MS + CLEAN_MS)
        assert.equal(await rig.value(LEFT), '0')
        const took = performance.now() - since
        assert.ok(took < ABANDON_MS + CLEAN_MS, `${way}: clean after ${took} ms`)
        await client.closed
        await using next = await rig.client()
        const { rows } = await next.query(
          'select session_user, (select count(*) from pg_listening_channels()), (select count(*) from kept)',
        )
        assert.deepEqual(rows, [[postgres.user, '0', '0']])
        assert.equal((await next.query('execute mine')).error?.code, '26000')
      }
      await assertFullStrength(rig, 2)
    })
  }
})

describe('a storm of failed logins (F29)', () => {
  it('fills neither the log nor the pool: 10 lines a second, and how many were left out', async () => {
    const healthy = await Healthy.start(through(rig.test, postgres))
    rig.test.lines.length = 0
    const from = performance.now()
    const codes = await Promise.all(
      Array.from({ length: 1000 }, (_, n) =>
        rig.client({ user: `nobody${n % 7}`, password: 'wrong', timeout: 60_000 }).then(
          () => 'in',
          (error: unknown) => (error instanceof LoginError ? error.code : String(error)),
        ),
      ),
    )
    const seconds = Math.ceil((performance.now() - from) / 1000)
    const count = (code: string) => codes.filter((one) => one === code).length
    // The door may be full; nobody is told anything else.
    assert.equal(count('28P01') + count('53300'), 1000, JSON.stringify([...new Set(codes)]))
    assert.ok(count('28P01') > 0)
    const refused = () => rig.test.lines.filter(({ message }) => message === 'client refused')
    assert.ok(refused().length > 0 && refused().length <= 10 * (seconds + 1), `${refused().length} lines`)
    const leftOut = () =>
      rig.test.lines
        .filter(({ fields }) => fields.reason === 'auth_failed')
        .reduce((sum, { fields }) => sum + Number(fields.suppressed ?? 0), 0)
    const told = () => refused().filter(({ fields }) => fields.reason === 'auth_failed').length
    await eventually(() => told() + leftOut() === count('28P01'))
    await healthy.goesOn()
    await healthy.stop()
  })
})

describe('a handler that throws (F35)', () => {
  const internalErrors = async (): Promise<number> => {
    const found = /pgmux_errors_total\{[^}]*XX000[^}]*\} (\d+)/.exec(await rig.test.pooler.metrics())
    return Number(found?.[1] ?? 0)
  }
  /** The next call of this method of one object fails. */
  const sabotage = (object: object, method: string): void => {
    Object.defineProperty(object, method, {
      configurable: true,
      value() {
        Reflect.deleteProperty(object, method)
        throw new Error('thrown on purpose')
      },
    })
  }
  afterEach(() => assertFullStrength(rig, 2))

  /** The pooler's side of this client. */
  const inside = (client: WireClient) => {
    const found = [...rig.test.pooler.house.clients].find(({ pid }) => pid === client.pid)
    assert.ok(found !== undefined)
    return found
  }

  const CASES: [string, (client: WireClient) => Promise<unknown> | unknown][] = [
    [
      'what a client sends',
      (client) => {
        sabotage(inside(client), 'onData')
        client.send(m.query('select 1'))
      },
    ],
    [
      'its end',
      (client) => {
        sabotage(inside(client), 'onEnd')
        client.halfClose()
      },
    ],
    ['its timeouts', (client) => sabotage(inside(client), 'tick')],
    [
      'what a client sends in a transaction',
      async (client) => {
        await client.query("begin; insert into kept values ('x')")
        sabotage(inside(client), 'onData')
        client.send(m.query('select 1'))
      },
    ],
    [
      'the answer of a server',
      async (client) => {
        await client.query("begin; insert into kept values ('x')")
        sabotage(inside(client).server as object, 'onData')
        client.send(m.query('select 1'))
      },
    ],
    [
      'the answer of a server, on its way to the client',
      async (client) => {
        await client.query("begin; insert into kept values ('x')")
        sabotage(inside(client), 'deliver')
        client.send(m.query('select 1'))
      },
    ],
  ]
  for (const [what, begin] of CASES) {
    it(`${what}: one connection is closed, it is counted, and all goes on`, async () => {
      const healthy = await Healthy.start(through(rig.test, postgres))
      const before = await internalErrors()
      const client = await rig.client()
      await begin(client)
      await Promise.race([client.closed, client.untilClosed()])
      await eventually(async () => (await internalErrors()) === before + 1)
      const said = rig.test.lines.filter(({ level }) => level === 'error').at(-1)
      assert.match(String(said?.fields.error), /thrown on purpose/)
      await healthy.goesOn()
      await healthy.stop()
      await rig.quiet()
      assert.equal(await rig.value('select count(*) from kept'), '0')
    })
  }
})
