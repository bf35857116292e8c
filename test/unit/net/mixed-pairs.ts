// Owns making connections of which one end is a stream of ours and the other a socket of Node's.
import { once } from 'node:events'
import { type AddressInfo, connect, createServer, type Socket } from 'node:net'
import { after } from 'node:test'
import { listen } from '../../../src/net/listen.ts'
import type { TcpStream } from '../../../src/net/tcp-stream.ts'
import { dialed } from './pairs.ts'
import { type End, Mine, Theirs } from './random-side.ts'

const HOST = '127.0.0.1'

/** @param which how our end came to be */
export function mixedPairs(which: 'accepted' | 'dialed'): () => Promise<[End, End]> {
  return which === 'accepted' ? toOurs() : toTheirs()
}

function toOurs(): () => Promise<[End, End]> {
  const waiting: ((stream: TcpStream) => void)[] = []
  const opened = listen({ host: HOST, port: 0 }, (stream) => {
    stream.pause()
    waiting.shift()?.(stream)
  })
  after(async () => (await opened).close())
  return async () => {
    const arrived = new Promise<TcpStream>((resolve) => waiting.push(resolve))
    const socket = connect({ host: HOST, port: (await opened).port, allowHalfOpen: true })
    await once(socket, 'connect')
    const stream = await arrived
    stream.resume()
    return [new Mine(stream), new Theirs(socket)]
  }
}

function toTheirs(): () => Promise<[End, End]> {
  const server = createServer({ allowHalfOpen: true })
  const opened = once(server.listen(0, HOST), 'listening')
  after(() => void server.close())
  return async () => {
    await opened
    const { port } = server.address() as AddressInfo
    const [[socket], stream] = await Promise.all([
      once(server, 'connection') as Promise<[Socket]>,
      dialed({ host: HOST, port }),
    ])
    return [new Mine(stream), new Theirs(socket)]
  }
}
