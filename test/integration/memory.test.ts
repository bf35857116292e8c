// What a pooler keeps in memory while much goes through it, measured in a process of its own. Must never
// measure time, and never the memory of the test itself.
import assert from 'node:assert/strict'
import { once } from 'node:events'
import type { Socket } from 'node:net'
import { after, before, suite, test } from 'node:test'
import { direct } from '../support/compare.ts'
import { Healthy } from '../support/healthy.ts'
import * as m from '../support/messages.ts'
import { type PoolerProcess, startPoolerProcess } from '../support/pooler-process.ts'
import { getPostgres } from '../support/postgres.ts'
import { openSocket } from '../support/sockets.ts'
import { until } from '../support/waits.ts'
import { WireClient } from '../support/wire-client.ts'

const MB = 1024 * 1024
/**
 * What may remain in use, and what may be in use in between, above the process at work on small things. Less
 * than the smallest of what goes through; on a busy machine the allocator keeps up to 45 MB in pieces.
 */
const REMAINS = 64 * MB
const PEAK = 96 * MB

const postgres = await getPostgres()

/** Writes and waits until the socket takes more. */
async function write(socket: Socket, bytes: Buffer): Promise<void> {
  if (!socket.write(bytes)) await once(socket, 'drain')
}

suite('memory', () => {
  let pooler: PoolerProcess
  let healthy: Healthy
  let base = 0

  before(async () => {
    pooler = await startPoolerProcess(postgres.url, { client: { auth: 'trust' }, pool: { size: 6 } })
    healthy = await Healthy.start(address())
    await healthy.goesOn()
    // What the process takes for its buffers once and keeps.
    await big("select repeat('x', 10000) from generate_series(1, 5000)")
    await big("select repeat('x', 50000000)")
    await parameter(50_000_000)
    base = (await pooler.memory()).rss
  })
  after(async () => {
    await healthy.stop()
    await pooler.stop()
  })

  const address = () => ({ ...direct(postgres), host: pooler.host, port: pooler.port })

  /** A connection that has logged in (trust) and whose answers are counted, not kept. */
  async function raw(): Promise<{ socket: Socket; count: () => number; tail: () => string }> {
    const socket = await openSocket(address())
    let bytes = 0
    let last = Buffer.alloc(0)
    socket.on('data', (chunk: Buffer) => {
      bytes += chunk.length
      last = chunk.length >= 6 ? Buffer.from(chunk.subarray(-6)) : Buffer.concat([last, chunk]).subarray(-6)
    })
    const ready = m.message('Z', 'I')
    const tail = () => (last.equals(ready) ? 'ready' : last.toString('latin1'))
    socket.write(m.startup({ user: postgres.user, database: postgres.database }))
    await until(() => tail() === 'ready', tail)
    return { socket, count: () => bytes, tail }
  }

  async function big(sql: string): Promise<number> {
    const { socket, count, tail } = await raw()
    const before = count()
    socket.write(m.query(sql))
    await until(
      () => count() > before && tail() === 'ready',
      () => `${count()} bytes`,
      60_000,
    )
    socket.end(m.terminate())
    return count() - before
  }

  /** Sends a parameter of so many bytes and reads the answer. */
  async function parameter(size: number): Promise<void> {
    const { socket, count, tail } = await raw()
    const before = count()
    socket.write(m.parse('select length($1::text)'))
    const head = m.bind({ params: [''] })
    // A Bind with one value: its length stands 6 bytes before the end of the message.
    head.writeInt32BE(head.length - 1 + size, 1)
    head.writeInt32BE(size, head.length - 6)
    await write(socket, head.subarray(0, head.length - 2))
    const piece = Buffer.alloc(MB, 0x61)
    for (let left = size; left > 0; left -= piece.length)
      await write(socket, piece.subarray(0, Math.min(left, MB)))
    socket.write(Buffer.concat([head.subarray(head.length - 2), m.execute(), m.sync()]))
    await until(
      () => count() > before && tail() === 'ready',
      () => `${count()} bytes`,
      60_000,
    )
    socket.end(m.terminate())
  }

  async function isFlat(): Promise<void> {
    await healthy.goesOn()
    const { rss, peak } = await pooler.memory()
    const mib = (bytes: number) => `${Math.round((bytes - base) / MB)} MiB`
    assert.ok(rss - base < REMAINS, `${mib(rss)} remain in use`)
    assert.ok(peak - base < PEAK, `${mib(peak)} were in use`)
  }

  test('a row of 300 MB', async () => {
    assert.ok((await big("select repeat('x', 300000000)")) > 300_000_000)
    await isFlat()
  })

  test('a parameter of 300 MB', async () => {
    await parameter(300_000_000)
    await isFlat()
  })

  test('a query of 64 MB in small writes', async () => {
    const { socket, count, tail } = await raw()
    const before = count()
    const size = 64_000_000
    const text = Buffer.concat([Buffer.from("select length('"), Buffer.alloc(size, 0x62), Buffer.from("')")])
    const bytes = m.query(text)
    for (let at = 0; at < bytes.length; at += 1000) await write(socket, bytes.subarray(at, at + 1000))
    await until(
      () => count() > before && tail() === 'ready',
      () => `${count()} bytes`,
      60_000,
    )
    socket.end(m.terminate())
    await isFlat()
  })

  test('a reader that stops in the middle of 500 MB, and breaks off', async () => {
    const { socket, count } = await raw()
    const before = count()
    socket.write(m.query("select repeat('y', 10000) from generate_series(1, 50000)"))
    await until(
      () => count() - before > 10 * MB,
      () => `${count()} bytes`,
    )
    socket.pause()
    const seen = count()
    for (let round = 0; round < 30; round++) await healthy.goesOn()
    await isFlat()
    assert.ok(count() - seen < 50 * MB)
    socket.destroy()
    await isFlat()
  })

  test('a reader that takes nothing and asks again and again', async () => {
    const client = await WireClient.connect(address())
    client.pause()
    const question = m.query("select repeat('z', 50000)")
    for (let round = 0; round < 2000; round++) {
      client.send(question)
      if (round % 100 === 0) await healthy.goesOn()
    }
    await isFlat()
    client.destroy()
  })

  test('COPY of 100 MB in and out', async () => {
    await postgres.admin('create unlogged table copied (t text)')
    const { socket, count, tail } = await raw()
    const before = count()
    socket.write(m.query('copy copied from stdin'))
    await until(
      () => count() > before,
      () => 'no CopyInResponse',
    )
    const data = m.copyData(`${'c'.repeat(9_999)}\n`.repeat(20))
    for (let round = 0; round < 500; round++) await write(socket, data)
    socket.write(m.copyDone())
    await until(() => tail() === 'ready', tail, 60_000)
    socket.end(m.terminate())
    assert.ok((await big('copy copied to stdout')) > 100_000_000)
    await isFlat()
  })

  test('a million Syncs', async () => {
    const { socket, count } = await raw()
    const before = count()
    socket.write(Buffer.alloc(5_000_000, m.sync()))
    await until(
      () => count() - before === 6_000_000,
      () => `${count() - before} bytes`,
    )
    socket.end(m.terminate())
    await isFlat()
  })

  test('a million Syncs whose answers nobody reads', async () => {
    const client = await WireClient.connect(address())
    client.pause()
    for (let round = 0; round < 20; round++) client.send(Buffer.alloc(5_000_000, m.sync()))
    for (let round = 0; round < 100; round++) await healthy.goesOn()
    await isFlat()
    client.destroy()
  })

  test('a thousand clients that come, work and go', async () => {
    for (let round = 0; round < 10; round++) {
      const clients = await Promise.all(Array.from({ length: 100 }, () => WireClient.connect(address())))
      await Promise.all(
        clients.map((client, n) => client.extended(`select ${round * 100 + n}`, [], { statement: 'x' })),
      )
      await Promise.all(clients.map((client) => client.end()))
    }
    await isFlat()
  })
})
