// Who takes part in which load, and the relay that some of them have in between. No load is run here.
import assert from 'node:assert/strict'
import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { connect, createServer, type Server } from 'node:net'
import { after, before, describe, it } from 'node:test'
import { fileURLToPath } from 'node:url'
import type { RelayJob } from '../../../bench/load/relay.ts'
import { parseOptions } from '../../../bench/options.ts'
import { cannotDo, type Ground, knowsShared } from '../../../bench/peers.ts'
import { takingPart } from '../../../bench/roster.ts'
import type { Load } from '../../../bench/scenarios.ts'

const RELAY = fileURLToPath(new URL('../../../bench/load/relay.ts', import.meta.url))
/** ms */
const WAY = 20
const PIECES = 20

function ground(...args: string[]): Ground {
  // Nothing else of it is looked at.
  return { options: parseOptions(args), pgbouncer: { program: '', version: '1.18.0' } } as unknown as Ground
}

describe('who takes part', () => {
  const names = (load: Load, ...args: string[]) => takingPart(ground(...args), load).join(' ')
  const leased = knowsShared() ? ' pgmux-leased' : ''

  it('is told by the load', () => {
    assert.equal(names('simple'), `direct pgmux${leased} pgbouncer relay`)
    assert.equal(names('mixed-work'), `direct pgmux${leased} pgbouncer`)
    assert.equal(names('tpcb', '--peer=other=host:1'), 'direct pgmux pgbouncer other')
  })

  it('or by who asks; but a peer of somebody else and a bare relay are never far', () => {
    assert.equal(names('simple', '--no-leased', '--no-relay'), 'direct pgmux pgbouncer')
    assert.equal(
      names('delay-simple-64', '--relay', '--leased', '--peer=other=host:1'),
      `direct pgmux${leased} pgbouncer`,
    )
    assert.equal(names('tpcb', '--relay', '--leased'), `direct pgmux${leased} pgbouncer relay`)
  })

  it('cannot do everything', () => {
    const can = (name: string, load: Load) => cannotDo(ground(), name, load) === ''
    assert.deepEqual([can('direct', 'clients-64'), can('direct', 'clients-500')], [true, false])
    assert.deepEqual([can('pgbouncer', 'simple'), can('pgbouncer', 'delay-prepared-64')], [true, false])
    assert.deepEqual([can('direct', 'delay-simple-64'), can('direct', 'delay-simple-200')], [true, false])
  })
})

describe('the relay', () => {
  let echo: Server
  const relays: ChildProcess[] = []

  before(async () => {
    echo = createServer({ allowHalfOpen: true }, (socket) => void socket.pipe(socket))
    echo.listen(0, '127.0.0.1')
    await once(echo, 'listening')
  })

  after(() => {
    for (const relay of relays) relay.kill()
    echo.close()
  })

  async function start(delay: number): Promise<number> {
    const job: RelayJob = { host: '127.0.0.1', port: (echo.address() as { port: number }).port, delay }
    const env = { ...process.env, BENCH_RELAY: JSON.stringify(job) }
    const relay = spawn(process.execPath, [RELAY], { env, stdio: ['ignore', 'pipe', 'inherit'] })
    relays.push(relay)
    const [line] = (await once(relay.stdout!, 'data')) as [Buffer]
    return Number(/relay on port (\d+)/.exec(String(line))![1])
  }

  for (const delay of [0, WAY]) {
    it(`passes all bytes on in their order, and the end, with ${delay} ms`, async () => {
      const socket = connect({ host: '127.0.0.1', port: await start(delay), allowHalfOpen: true })
      const sent = Buffer.from(Uint32Array.from({ length: 500_000 }, (_, i) => i * 2_654_435_761).buffer)
      socket.end(sent)
      const pieces: Buffer[] = []
      for await (const piece of socket) pieces.push(piece as Buffer)
      assert.ok(Buffer.concat(pieces).equals(sent))
    })
  }

  it('keeps what comes for its time in each direction, each piece for itself', async () => {
    const port = await start(WAY)
    const sockets = Array.from({ length: PIECES }, () => connect({ host: '127.0.0.1', port, noDelay: true }))
    await Promise.all(sockets.map((socket) => once(socket, 'connect')))
    const began = performance.now()
    const first = once(sockets[0]!, 'data').then(() => performance.now() - began)
    await Promise.all(
      sockets.map((socket) => {
        socket.write('a')
        return once(socket, 'data')
      }),
    )
    const took = performance.now() - began
    for (const socket of sockets) socket.destroy()
    assert.ok((await first) >= 2 * WAY, 'the round trip was too short')
    assert.ok(took < PIECES * 2 * WAY, 'each piece waited for the one before')
  })
})
