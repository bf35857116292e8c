// How clients come in over a WebSocket and go: everything said at once, as drivers do, or in a dialogue; what
// they are asked for; what a refusal looks like to them. Must never use a driver: its tests are in e2e/.
import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { through } from '../support/compare.ts'
import * as m from '../support/messages.ts'
import { getPostgres } from '../support/postgres.ts'
import type { Overrides } from '../support/pooler.ts'
import { eventually, type Rig } from '../support/rig.ts'
import { Talk, webPortOf, webRig } from '../support/web-talk.ts'
import { WireClient } from '../support/wire-client.ts'

const postgres = await getPostgres()
const PASSWORD = postgres.password

const rigWith = (overrides: Overrides = {}): Promise<Rig> => webRig(postgres, overrides)
const portOf = webPortOf
const STARTUP = m.startup({ user: postgres.user, database: postgres.database })
const ALL_AT_ONCE = Buffer.concat([STARTUP, m.password(PASSWORD), m.query('select 7 as seven')])

const LOGIN_AND_ROW = /^RRS+KZTDCZ$/

describe('a login in one message', async () => {
  const rig = await rigWith({ pool: { size: 2 } })

  it('is answered in one message where the pool is warm, and the query behind it', async () => {
    await rig.healthy()
    const talk = await Talk.open(rig)
    talk.socket.write(ALL_AT_ONCE)
    await talk.until(() => talk.count('Z') === 2)
    assert.match(talk.types, LOGIN_AND_ROW)
    const [asked, ok] = talk.said
    assert.deepEqual([asked?.type === 'R' && asked.method, ok?.type === 'R' && ok.method], [3, 0])
    const untilReady = talk.said.slice(0, talk.types.indexOf('Z') + 1)
    const bytes = untilReady.reduce((sum, { raw }) => sum + raw.length, 0)
    assert.equal(talk.socket.messages[0], bytes, 'the whole answer to the login in one message')
    assert.equal(talk.socket.messages.length, 2)
    talk.socket.destroy()
  })

  it('may be cut at every byte', async () => {
    const cuts = Array.from({ length: ALL_AT_ONCE.length - 1 }, (_, index) => index + 1)
    for (let at = 0; at < cuts.length; at += 20) {
      await Promise.all(
        cuts.slice(at, at + 20).map(async (cut) => {
          const talk = await Talk.open(rig)
          talk.socket.write(ALL_AT_ONCE.subarray(0, cut))
          await eventually(() => talk.socket.writableLength === 0)
          await new Promise((resolve) => setImmediate(resolve))
          talk.socket.write(ALL_AT_ONCE.subarray(cut))
          await talk.until(() => talk.count('Z') === 2)
          assert.match(talk.types, LOGIN_AND_ROW, `cut at ${cut}`)
          talk.socket.destroy()
        }),
      )
    }
  })

  it('with a query of 2 MB behind the password', async () => {
    const talk = await Talk.open(rig)
    const long = m.query(`select length('${'x'.repeat(2_000_000)}')`)
    talk.socket.write(Buffer.concat([STARTUP, m.password(PASSWORD), long]))
    await talk.until(() => talk.count('Z') === 2)
    const row = talk.said.find((message) => message.type === 'D')
    assert.equal(row?.values[0]?.toString(), '2000000')
    talk.socket.destroy()
  })

  it('in a dialogue it is the same', async () => {
    await using wire = await WireClient.connect(through(rig.test, postgres, { web: { port: portOf(rig) } }))
    assert.deepEqual((await wire.query('select 8')).rows, [['8']])
  })

  it('Terminate is answered with a close frame', async () => {
    const talk = await Talk.open(rig)
    talk.socket.write(ALL_AT_ONCE)
    await talk.until(() => talk.count('Z') === 2)
    const since = performance.now()
    talk.socket.write(m.terminate())
    assert.equal((await talk.socket.closeFrame)?.code, 1000)
    // Far below the times for which anything lingers.
    assert.ok(performance.now() - since < 1000)
  })

  it('a close frame without Terminate in a transaction rolls it back', async () => {
    const talk = await Talk.open(rig)
    talk.socket.write(Buffer.concat([STARTUP, m.password(PASSWORD)]))
    await talk.until(() => talk.count('Z') === 1)
    talk.socket.write(m.query('begin; create table web_unfinished ()'))
    await talk.until(() => talk.count('Z') === 2)
    talk.socket.sayClose()
    assert.equal((await talk.socket.closeFrame)?.code, 1000)
    await rig.quiet()
    assert.equal(await rig.value("select count(*) from pg_class where relname = 'web_unfinished'"), '0')
  })

  it('a wrong password: one FATAL, time to read it, one close frame', async () => {
    const talk = await Talk.open(rig)
    talk.socket.write(Buffer.concat([STARTUP, m.password('wrong'), m.query('select 1')]))
    await talk.until(() => talk.error !== undefined)
    assert.deepEqual([talk.types, talk.error?.code, talk.error?.severity], ['RE', '28P01', 'FATAL'])
    const { house } = rig.test.pooler
    assert.equal(house.visitors.size, 1, 'it counts as long as it is there')
    assert.equal(house.clients.size, 0)
    talk.socket.write(m.terminate())
    assert.equal((await talk.socket.closeFrame)?.code, 1000)
    assert.equal(house.visitors.size, 0)
    assert.equal(talk.socket.controls.length, 1)
  })

  it('who never says goodbye after a refusal is closed', async () => {
    const talk = await Talk.open(rig)
    talk.socket.write(Buffer.concat([STARTUP, m.password('wrong'), m.query('select 1')]))
    assert.equal((await talk.socket.closeFrame)?.code, 1000)
    assert.equal(talk.types, 'RE')
    await eventually(() => rig.test.pooler.house.visitors.size === 0)
  })
})

describe('who is not asked for a password', async () => {
  const rig = await rigWith({ client: { auth: 'trust' } })
  const ready = () => rig.healthy()

  it('and says one nevertheless is in', async () => {
    await ready()
    const talk = await Talk.open(rig)
    talk.socket.write(ALL_AT_ONCE)
    await talk.until(() => talk.count('Z') === 2)
    assert.match(talk.types, /^RS+KZTDCZ$/)
    talk.socket.destroy()
  })

  it('cut at every byte', async () => {
    for (let cut = STARTUP.length - 2; cut < ALL_AT_ONCE.length; cut++) {
      const talk = await Talk.open(rig)
      talk.socket.write(ALL_AT_ONCE.subarray(0, cut))
      if (cut >= STARTUP.length) await talk.until(() => talk.count('Z') === 1)
      talk.socket.write(ALL_AT_ONCE.subarray(cut))
      await talk.until(() => talk.count('Z') === 2)
      assert.match(talk.types, /^RS+KZTDCZ$/, `cut at ${cut}`)
      talk.socket.destroy()
    }
  })

  it('a second one is malformed', async () => {
    const talk = await Talk.open(rig)
    talk.socket.write(Buffer.concat([STARTUP, m.password('one'), m.password('two'), m.query('select 1')]))
    await talk.until(() => talk.error !== undefined)
    assert.equal(talk.error?.code, '08P01')
    assert.equal((await talk.socket.closeFrame)?.code, 1000)
  })

  it('and so is one behind a query', async () => {
    const talk = await Talk.open(rig)
    talk.socket.write(Buffer.concat([STARTUP, m.query('select 1'), m.password('late')]))
    await talk.until(() => talk.error !== undefined)
    assert.equal(talk.error?.code, '08P01')
    talk.socket.destroy()
  })
})

describe('where others may listen', async () => {
  // A proxy that is not trusted forwards it: then it is not of this machine, and there is no TLS.
  const far = { headers: { 'X-Forwarded-For': '203.0.113.9' } }
  const rig = await rigWith()

  it('a password that was sent unasked is refused in words', async () => {
    const talk = await Talk.open(rig, far)
    talk.socket.write(ALL_AT_ONCE)
    await talk.until(() => talk.error !== undefined)
    assert.equal(talk.error?.code, '28000')
    assert.match(
      talk.error?.message ?? '',
      /cleartext passwords are refused on an unencrypted WebSocket; use wss/,
    )
    talk.socket.write(m.terminate())
    assert.equal((await talk.socket.closeFrame)?.code, 1000)
  })

  it('SCRAM goes', async () => {
    const web = { port: portOf(rig), ...far }
    await using wire = await WireClient.connect(through(rig.test, postgres, { web }))
    const methods = wire.received.flatMap((message) => (message.type === 'R' ? [message.method] : []))
    assert.deepEqual(methods, [10, 11, 12, 0])
    assert.deepEqual((await wire.query('select 9')).rows, [['9']])
  })

  it('md5 is asked for where that is what is known', async () => {
    const other = await rigWith({ client: { auth: 'md5' } })
    const web = { port: portOf(other), ...far }
    await using wire = await WireClient.connect(through(other.test, postgres, { web }))
    const methods = wire.received.flatMap((message) => (message.type === 'R' ? [message.method] : []))
    assert.deepEqual(methods, [5, 0])
    const talk = await Talk.open(other, far)
    talk.socket.write(ALL_AT_ONCE)
    await talk.until(() => talk.error !== undefined)
    assert.equal(talk.error?.code, '28000')
    talk.socket.destroy()
  })

  it('unless the operator does not mind', async () => {
    const other = await rigWith({ serverless: { insecurePasswords: true } })
    const talk = await Talk.open(other, far)
    talk.socket.write(ALL_AT_ONCE)
    await talk.until(() => talk.count('Z') === 2)
    assert.match(talk.types, LOGIN_AND_ROW)
    talk.socket.destroy()
  })
})
