// The connections that carry CancelRequests: from the client to the pooler, and from the pooler to Postgres,
// with TLS where the server connection has it (DESIGN section 8, hazards C05, C06, C10).
import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import { describe, it } from 'node:test'
import { direct, through } from '../support/compare.ts'
import * as m from '../support/messages.ts'
import { getPostgres, notRun } from '../support/postgres.ts'
import { eventually, gated, latch, Rig } from '../support/rig.ts'
import { result, WireClient } from '../support/wire-client.ts'

const postgres = await getPostgres()
const rig = await Rig.start(postgres, { pool: { mode: 'transaction', size: 1 } })

/** A statement that is cancelled long before it ends. */
const LONG = 'select pg_sleep(60)'

describe('cancel connections', () => {
  it('speak TLS where the server connection does', async () => {
    const folder = new URL('../support/certs/', import.meta.url)
    const [cert, key] = ['localhost.crt', 'localhost.key'].map((name) =>
      readFileSync(new URL(name, folder), 'utf8'),
    )
    const [gate, secure] = await gated(
      postgres,
      { pool: { size: 1 }, upstream: { tls: { mode: 'require' } } },
      {
        key: key as string,
        cert: cert as string,
      },
    )
    const before = await secure.healthy()
    await using client = await secure.client()
    client.send(m.query(LONG))
    await secure.running(LONG)
    await client.cancel()
    assert.equal(result(await client.until('Z')).error?.code, '57014')
    assert.deepEqual(
      gate.links.map(({ kind, isEncrypted }) => [kind, isEncrypted]),
      [
        ['session', true],
        ['cancel', true],
      ],
    )
    assert.equal(await secure.healthy(), before, 'the server is kept')
  })

  it('name the right server each, with all servers of the pool at work', async () => {
    const [gate, full] = await gated(postgres, { pool: { mode: 'transaction', size: 8 } })
    const clients = await Promise.all(Array.from({ length: 8 }, () => full.client()))
    for (const client of clients) client.send(m.query(LONG))
    await eventually(async () => (await full.backends(`query = '${LONG}'`)).length === 8)
    await Promise.all(clients.slice(0, 7).map((client) => client.cancel()))
    for (const client of clients.slice(0, 7)) {
      assert.equal(result(await client.until('Z')).error?.code, '57014')
    }
    assert.equal((await full.backends(`state = 'active' and query = '${LONG}'`)).length, 1)
    await clients[7]?.cancel()
    await clients[7]?.until('Z')
    assert.equal(new Set(gate.cancels.map(({ cancelPid }) => cancelPid)).size, 8)
    await Promise.all(clients.map((client) => client.end()))
  })

  it('a hundred requests at once open one', async () => {
    const [gate, one] = await gated(postgres, { pool: { mode: 'transaction', size: 1 } })
    const held = latch()
    gate.hooks.onCancel = () => held.opened
    await using client = await one.client()
    client.send(m.query(LONG))
    await one.running(LONG)
    const all = Promise.all(Array.from({ length: 100 }, () => client.cancel()))
    await eventually(() => one.test.pooler.gauges().clients.login === 100)
    held.open()
    await all
    assert.equal(result(await client.until('Z')).error?.code, '57014')
    assert.equal(gate.cancels.length, 1)
  })
})

describe('a Postgres with TLS', () => {
  it('takes cancels on connections with TLS', async (t) => {
    if (postgres.control === null) {
      notRun(t, postgres.missing)
      return
    }
    const folder = new URL('../support/certs/localhost.', import.meta.url)
    for (const end of ['crt', 'key']) {
      const lines = readFileSync(new URL(`${folder.href}${end}`), 'utf8')
        .trimEnd()
        .replaceAll('\n', "'), ('")
      await rig.see(`copy (values ('${lines}')) to program 'umask 077; cat > server.${end}'`)
    }
    await rig.see('alter system set ssl = on')
    await rig.see('select pg_reload_conf()')
    const secure = await Rig.start(postgres, { pool: { size: 1 }, upstream: { tls: { mode: 'require' } } })
    const before = await secure.healthy()
    await using client = await secure.client()
    client.send(m.query(LONG))
    const pid = await secure.running(LONG)
    assert.equal(await secure.value(`select ssl from pg_stat_ssl where pid = ${pid}`), 't')
    await client.cancel()
    assert.equal(result(await client.until('Z')).error?.code, '57014')
    assert.equal(await secure.healthy(), before, 'the server is kept')
    await rig.see('alter system reset ssl')
    await rig.see('select pg_reload_conf()')
  })
})

describe('the answer to a CancelRequest', () => {
  it('is no byte, whatever it asks for', async () => {
    const bytesOf = async (options: Parameters<typeof WireClient.open>[0], pid: number, key: Buffer) => {
      const client = await WireClient.open(options)
      client.send(m.cancelRequest(pid, key))
      const messages = await client.untilClosed()
      return [messages.length, client.bytesReceived]
    }
    for (const options of [direct(postgres), through(rig.test, postgres)]) {
      assert.deepEqual(await bytesOf(options, 1, Buffer.alloc(4)), [0, 0])
    }
  })
})
