// Owns: proof that the relay passes bytes unchanged unless told otherwise, and breaks what it is told to
// break. Must never depend on how long something takes.

import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { serveFake } from '../../support/fake/tcp.ts'
import { FakeCluster } from '../../support/fake-postgres.ts'
import * as m from '../../support/messages.ts'
import { Prng } from '../../support/prng.ts'
import { cutterAt, type ProxyOptions, seededCutter, TestProxy } from '../../support/proxy.ts'
import { transcript } from '../../support/transcript.ts'
import { WireClient } from '../../support/wire-client.ts'

async function rig(shape: ProxyOptions['shape'] = {}) {
  const schedule = (ms: number, run: () => void) => void setTimeout(run, ms).unref()
  const cluster = new FakeCluster({ schedule, random: new Prng(1) })
  const fake = await serveFake(cluster)
  const proxy = await TestProxy.listen({ port: fake.port, shape })
  return {
    cluster,
    proxy,
    async [Symbol.asyncDispose]() {
      await proxy.close()
      await fake[Symbol.asyncDispose]()
    },
  }
}

describe('the proxy', () => {
  const shapes: [string, ProxyOptions['shape']][] = [
    ['whole', {}],
    ['byte by byte', { up: { cut: 1 }, down: { cut: 1 } }],
    ['at seeded places', { up: { cut: seededCutter(1) }, down: { cut: seededCutter(2) } }],
    ['at given offsets', { up: { cut: cutterAt(3, 40) }, down: { cut: cutterAt(1, 100) } }],
    ['later', { up: { delay: 3 }, down: { delay: 3 } }],
  ]
  for (const [name, shape] of shapes) {
    it(`passes bytes ${name}`, async () => {
      await using net = await rig(shape)
      await using client = await WireClient.connect({ port: net.proxy.port })
      const answer = await client.query('select generate_series(1, 20) as n')
      assert.equal(transcript(answer.messages), 'T D(20) C(SELECT 20) Z(I)')
      assert.deepEqual(await client.end(), {})
      const connection = await net.proxy.connection(0)
      await connection.closed
      assert.equal(connection.down.sent, client.bytesReceived)
      assert.equal(net.proxy.open, 0)
    })
  }

  it('holds and releases', async () => {
    await using net = await rig()
    await using client = await WireClient.connect({ port: net.proxy.port })
    const connection = await net.proxy.connection(0)
    const before = connection.down.received
    connection.down.hold()
    const answer = client.query('select 1/0')
    await connection.passed('down', before + 1)
    assert.equal(client.drain().length, 0)
    connection.release()
    assert.equal((await answer).error?.code, '22012')
  })

  it('changes and injects bytes', async () => {
    await using net = await rig()
    await using client = await WireClient.connect({ port: net.proxy.port })
    const connection = await net.proxy.connection(0)
    connection.down.inject(m.message('N', 'SNOTICE\0C00000\0Mhello\0\0'))
    assert.equal(transcript([await client.next()]), 'N(00000)')
    connection.up.shape.map = (bytes) => Buffer.from(bytes.toString('latin1').replace('aaa', 'bbb'), 'latin1')
    const answer = await client.query("select 'aaa'::text as tag, pg_backend_pid() as pid")
    assert.equal(answer.rows[0]?.[0], 'bbb')
  })

  it('cuts, resets, swallows and refuses', async () => {
    await using net = await rig()
    await using first = await WireClient.connect({ port: net.proxy.port })
    ;(await net.proxy.connection(0)).cut()
    assert.deepEqual(await first.closed, {})
    await using second = await WireClient.connect({ port: net.proxy.port })
    ;(await net.proxy.connection(1)).reset()
    assert.equal(((await second.closed).error as NodeJS.ErrnoException).code, 'ECONNRESET')
    await using third = await WireClient.connect({ port: net.proxy.port, timeout: 30 })
    const silent = await net.proxy.connection(2)
    silent.blackhole()
    await assert.rejects(third.query('select 1/0'), /no message within 30 ms/)
    await silent.passed('up', silent.up.sent + 1)
    net.proxy.refuse()
    await assert.rejects(WireClient.connect({ port: net.proxy.port }))
    assert.equal(net.proxy.refused, 1)
    net.proxy.admit()
    await using fourth = await WireClient.connect({ port: net.proxy.port })
    assert.equal(fourth.status, 'I')
  })
})
