// Owns: the first message of a driver on a WebSocket, byte by byte: startup packet, unasked password and
// a query in one, with whatever headers and parameters. Must never wait for an answer in
// between: drivers do not.
import { WebSocket } from 'ws'
import { isSecret } from './known-secrets.ts'

export interface Knock {
  /** `host:port` */
  readonly endpoint: string
  /** As they are to stand in the startup packet. */
  readonly parameters: readonly (readonly [name: string, value: string])[]
  readonly password: string
  readonly headers?: Record<string, string>
  /** Asked behind the password; none: the login is all. */
  readonly query?: string
}

export interface Told {
  /** ReadyForQuery came, and no error. */
  readonly isIn: boolean
  /** SQLSTATE of the error; '' for none. */
  readonly code: string
  /** Everything that came, one character a byte. */
  readonly text: string
}

const READY = 'Z\0\0\0\x05I'
const TERMINATE = Buffer.from('X\0\0\0\x04')

/** Sends it, says goodbye when all answers are there, and tells what came. */
export function knock({ endpoint, parameters, password, headers = {}, query }: Knock): Promise<Told> {
  isSecret('a password that a test sent', password)
  const pairs = Buffer.from(`${parameters.flat().join('\0')}\0\0`)
  const start = Buffer.alloc(8)
  start.writeInt32BE(8 + pairs.length, 0)
  start.writeInt32BE(0x30000, 4)
  const first = [start, pairs, message('p', password)]
  if (query !== undefined) first.push(message('Q', query))
  const socket = new WebSocket(`ws://${endpoint}/v2`, { headers })
  const expected = query === undefined ? 1 : 2
  return new Promise((resolve, reject) => {
    let text = ''
    socket.on('error', reject)
    socket.on('open', () => socket.send(Buffer.concat(first)))
    socket.on('message', (data: Buffer) => {
      text += data.toString('latin1')
      if (text.split(READY).length > expected || text.includes('SFATAL')) socket.send(TERMINATE)
    })
    socket.on('close', () => {
      const code = /S(?:FATAL|ERROR)\0.*?\0C([0-9A-Z]{5})\0/s.exec(text)?.[1] ?? ''
      resolve({ isIn: text.includes(READY) && code === '', code, text })
    })
  })
}

function message(type: string, body: string): Buffer {
  const bytes = Buffer.from(`${type}\0\0\0\0${body}\0`)
  bytes.writeInt32BE(bytes.length - 1, 1)
  return bytes
}
