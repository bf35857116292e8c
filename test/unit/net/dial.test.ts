// Tests connecting: what is reached, how failures are told, cancel.
import assert from 'node:assert/strict'
import { lookup } from 'node:dns/promises'
import { createServer } from 'node:net'
import { join } from 'node:path'
import { describe, it } from 'node:test'
import { DialError, dial } from '../../../src/net/dial.ts'
import { setHandlerErrorReporter } from '../../../src/net/handler-errors.ts'
import { listen } from '../../../src/net/listen.ts'
import { dialed, tempFolder } from './pairs.ts'
import { Recorder, turns } from './stream-contract.ts'

/** A port of 127.0.0.1 on which nobody listens. */
async function freePort(): Promise<number> {
  const listener = await listen({ host: '127.0.0.1', port: 0 }, () => {})
  await listener.close()
  return listener.port
}

describe('dial', () => {
  it('reaches localhost whichever of its addresses listens', async () => {
    // On some machines the name has no IPv6 address.
    for (const { address: host } of await lookup('localhost', { all: true })) {
      const seen = new Recorder()
      const listener = await listen({ host, port: 0 }, (stream) => {
        stream.handler = seen
      })
      const stream = await dialed({ host: 'localhost', port: listener.port })
      assert.deepEqual([stream.peer.kind, stream.peer.address, stream.peer.loopback], ['tcp', host, true])
      stream.destroy('test over')
      await seen.until(() => seen.ends + seen.closes.length > 0)
      await listener.close()
    }
  })

  it('tells a refused connection, naming the target', async () => {
    const port = await freePort()
    await assert.rejects(dialed({ host: '127.0.0.1', port }), (error) => {
      assert.ok(error instanceof DialError)
      assert.equal(error.code, 'ECONNREFUSED')
      assert.equal(error.message, `cannot connect to 127.0.0.1:${port}: connection refused`)
      return true
    })
    await assert.rejects(dialed({ host: 'localhost', port }), { code: 'ECONNREFUSED' })
    await assert.rejects(dialed({ host: '::1', port }), { message: /^cannot connect to \[::1\]:\d+: / })
  })

  it('tells a missing Unix socket and a port that cannot be', async () => {
    const path = join(tempFolder(), 'none')
    await assert.rejects(dialed({ path }), {
      code: 'ENOENT',
      message: `cannot connect to ${path}: no such file`,
    })
    await assert.rejects(dialed({ host: '127.0.0.1', port: 70_000 }), /cannot connect to 127.0.0.1:70000: /)
  })

  it('gives up after its time', async (t) => {
    t.mock.timers.enable({ apis: ['setTimeout'] })
    const listener = await listen({ host: '127.0.0.1', port: 0 }, (stream) => {
      stream.handler = new Recorder()
    })
    const waiting = dialed({ host: '127.0.0.1', port: listener.port }, 500)
    t.mock.timers.tick(500)
    await assert.rejects(waiting, {
      code: 'ETIMEDOUT',
      message: `cannot connect to 127.0.0.1:${listener.port}: no answer within 500 ms`,
    })
    await listener.close()
  })

  it('calls nobody after cancel and leaves no connection', async () => {
    const seen = new Recorder()
    const listener = await listen({ host: '127.0.0.1', port: 0 }, (stream) => {
      stream.handler = seen
    })
    let calls = 0
    const attempt = dial({ host: '127.0.0.1', port: listener.port }, 5000, () => calls++)
    attempt.cancel()
    await turns()
    assert.equal(calls, 0)
    await listener.close()
  })

  it('survives a callback that throws', async () => {
    const reports: string[] = []
    setHandlerErrorReporter((error, where) => reports.push(`${where}: ${error.message}`))
    const server = createServer()
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
    const { port } = server.address() as { port: number }
    const gone = new Promise((resolve) => {
      server.once('connection', (socket) => socket.resume().once('close', resolve))
    })
    dial({ host: '127.0.0.1', port }, 5000, () => {
      throw new Error('boom')
    })
    await gone
    assert.deepEqual(reports, [`a connection to 127.0.0.1:${port}: boom`])
    server.close()
  })
})
