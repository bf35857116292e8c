// Tests accepting: addresses, refusals, stale socket files, closing, running out of open files.
import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import { renameSync, statSync, writeFileSync } from 'node:fs'
import { connect, createServer, type Socket } from 'node:net'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { describe, it } from 'node:test'
import { setHandlerErrorReporter } from '../../../src/net/handler-errors.ts'
import { listen, listenError } from '../../../src/net/listen.ts'
import type { TcpStream } from '../../../src/net/tcp-stream.ts'
import { dialed, tempFolder } from './pairs.ts'
import { Recorder } from './stream-contract.ts'

const refuse = (): void => assert.fail('nobody should connect')

describe('listen', () => {
  it('refuses new connections after close and keeps the open ones', async () => {
    const seen = new Recorder()
    const streams: TcpStream[] = []
    const listener = await listen({ host: '127.0.0.1', port: 0 }, (stream) => {
      streams.push(stream)
      stream.handler = seen
    })
    const client = await dialed({ host: '127.0.0.1', port: listener.port })
    const got = new Recorder()
    client.handler = got
    client.write(Buffer.from('before'))
    await seen.until(() => seen.bytes === 6)
    await listener.close()
    await listener.close()
    await assert.rejects(dialed({ host: '127.0.0.1', port: listener.port }), { code: 'ECONNREFUSED' })
    streams[0].end(Buffer.from('after'))
    await got.until(() => got.ends === 1)
    assert.equal(got.data().toString(), 'after')
    client.end()
    await got.closed()
  })

  it('says what to do when the port is taken', async () => {
    const taken = 'it is in use by another process; stop that process or choose another port'
    const first = await listen({ host: '127.0.0.1', port: 0 }, refuse)
    await assert.rejects(listen({ host: '127.0.0.1', port: first.port }, refuse), {
      code: 'EADDRINUSE',
      message: `cannot listen on 127.0.0.1:${first.port}: ${taken}`,
    })
    await first.close()
  })

  it('has words for what cannot be provoked everywhere', () => {
    const denied = Object.assign(new Error('x'), { code: 'EACCES' })
    assert.match(listenError(denied, { host: '0.0.0.0', port: 80 }).message, /choose a port above 1023/)
    assert.match(
      listenError(denied, { path: '/x/s' }).message,
      /^cannot listen on \/x\/s: .*make it or choose another/,
    )
    assert.equal(listenError(new Error('odd'), { host: 'h', port: 1 }).message, 'cannot listen on h:1: odd')
  })

  it('closes a connection whose owner throws, and goes on', async () => {
    const reports: string[] = []
    setHandlerErrorReporter((error, where) => reports.push(`${where}: ${error.message}`))
    let fail = true
    const seen = new Recorder()
    const listener = await listen({ host: '127.0.0.1', port: 0 }, (stream) => {
      stream.handler = seen
      if (fail) throw new Error('boom')
    })
    const client = await dialed({ host: '127.0.0.1', port: listener.port })
    await seen.closed()
    assert.deepEqual(seen.closes, ['internal error: boom'])
    assert.deepEqual(reports, ['a new tcp connection: boom'])
    fail = false
    const second = await dialed({ host: '127.0.0.1', port: listener.port })
    second.write(Buffer.from('x'))
    await seen.until(() => seen.bytes === 1)
    client.destroy('test over')
    second.destroy('test over')
    await listener.close()
  })
})

describe('listen on a Unix socket', () => {
  it('sets the mode of the file and removes it on close', async () => {
    const path = join(tempFolder(), 's')
    const listener = await listen({ path, mode: 0o700 }, refuse)
    assert.deepEqual([listener.address, listener.port], [path, 0])
    assert.equal(statSync(path).mode & 0o777, 0o700)
    await listener.close()
    assert.throws(() => statSync(path))
  })

  it('replaces the file of a dead process, not that of a living one', async () => {
    const folder = tempFolder()
    const path = join(folder, 's')
    const dead = createServer()
    await new Promise<void>((resolve) => dead.listen(join(folder, 'dead'), resolve))
    renameSync(join(folder, 'dead'), path)
    await new Promise((resolve) => dead.close(resolve))
    const living = await listen({ path }, (stream) => {
      stream.handler = new Recorder()
    })
    await assert.rejects(listen({ path }, refuse), {
      code: 'EADDRINUSE',
      message: `cannot listen on ${path}: a living process listens there; stop it or choose another path`,
    })
    const client = await dialed({ path })
    assert.equal(client.peer.kind, 'unix')
    client.destroy('test over')
    await living.close()
  })

  it('does not remove a file that is no socket, and names a missing folder', async () => {
    const folder = tempFolder()
    writeFileSync(join(folder, 'file'), 'precious')
    await assert.rejects(
      listen({ path: join(folder, 'file') }, refuse),
      /a file that is no socket is in the way/,
    )
    await assert.rejects(
      listen({ path: join(folder, 'none/s') }, refuse),
      /its folder does not exist or this user may not write/,
    )
    await assert.rejects(
      listen({ path: join(folder, 'x'.repeat(200)) }, refuse),
      /too long for a Unix socket/,
    )
  })
})

const SERVER = `
import { listen } from ${JSON.stringify(new URL('../../../src/net/listen.ts', import.meta.url).href)}
const handler = { onData() {}, onDrain() {}, onEnd() {}, onClose() {} }
const { port } = await listen({ host: '127.0.0.1', port: 0 }, (stream) => {
  stream.handler = { ...handler, onData: (chunk) => stream.write(chunk), onEnd: () => stream.end() }
})
console.log('port ' + port)
process.stdin.on('data', () => {
  const { user, system } = process.cpuUsage()
  console.log('cpu ' + (user + system))
})
`

/** What an echo server answers; '' if it closes instead. */
function ask(port: number): Promise<string> {
  return new Promise((resolve) => {
    const socket = connect(port, '127.0.0.1', () => socket.write('echo'))
    socket.on('error', () => {})
    socket.once('data', (chunk) => {
      resolve(chunk.toString())
      socket.destroy()
    })
    socket.once('close', () => resolve(''))
  })
}

describe('without open files left', () => {
  it('neither dies nor spins, and accepts again later', async () => {
    const script = 'ulimit -n 64; exec "$0" --input-type=module -e "$1"'
    const child = spawn('sh', ['-c', script, process.execPath, SERVER], {
      stdio: ['pipe', 'pipe', 'inherit'],
    })
    const lines = createInterface(child.stdout)[Symbol.asyncIterator]()
    const line = async (word: string): Promise<string> => {
      for (;;) {
        const next = await lines.next()
        if (next.done) throw new Error('the server has died')
        if (next.value.startsWith(word)) return next.value.slice(word.length + 1)
      }
    }
    const cpu = async (): Promise<number> => {
      child.stdin.write('?')
      return Number(await line('cpu'))
    }
    const port = Number(await line('port'))
    const sockets: Socket[] = []
    const turnedAway = new Promise((resolve) => {
      for (let i = 0; i < 100; i++) {
        const socket = connect(port, '127.0.0.1')
        socket.on('error', resolve).on('end', resolve).resume()
        sockets.push(socket)
      }
    })
    await turnedAway
    const before = await cpu()
    await new Promise((resolve) => setTimeout(resolve, 300))
    const used = (await cpu()) - before
    assert.ok(used < 150_000, `${used} us of CPU while nothing happened`)
    for (const socket of sockets) socket.destroy()
    // It may still be closing the old ones.
    let echo = ''
    for (let tries = 0; echo === '' && tries < 1000; tries++) echo = await ask(port)
    assert.equal(echo, 'echo')
    child.kill()
  })
})
