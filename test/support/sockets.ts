// Owns: opening the socket of a test client: TCP, Unix path, TLS asked for or at once. Must never
// send a message beyond SSLRequest: what is said on the socket is the client's.

import { createHash, type X509Certificate } from 'node:crypto'
import { connect as netConnect, type Socket } from 'node:net'
import { type ConnectionOptions, connect as tlsConnect, type TLSSocket } from 'node:tls'
import * as m from './messages.ts'
import { OVER_WEB, TestWebSocket, type UpgradeOptions, webPorts } from './web-socket.ts'

export interface SocketOptions {
  /** Host name or address; a path that starts with `/` is a Unix socket (the folder or the socket itself). */
  host?: string
  port?: number
  /** Address to come from (TCP). */
  localAddress?: string
  /**
   * `request`: SSLRequest, which must be granted; `prefer`: go on in the clear if refused; `direct`: TLS at
   * once.
   */
  ssl?: false | 'request' | 'prefer' | 'direct'
  /** Over a WebSocket that is opened in this way; `ssl` is inside it. */
  web?: UpgradeOptions
  /** Options for TLS; certificates are not checked unless `rejectUnauthorized` says so. */
  tls?: ConnectionOptions
}

/** tls-server-end-point with SHA-256, which is right for all certificates that tests make. */
export function certificateHash(socket: TLSSocket): Buffer {
  const certificate = socket.getPeerX509Certificate() as X509Certificate
  return createHash('sha256').update(certificate.raw).digest()
}

/** Opens a socket, with TLS where asked for. It is paused where SSLRequest was refused under `prefer`. */
export async function openSocket(options: SocketOptions): Promise<Socket> {
  const { host = '127.0.0.1', port = 5432, localAddress } = options
  const web = options.web ?? webOf(options)
  if (web !== null) return secured(await openWebSocket(options, web), options)
  const path = host.startsWith('/') ? (host.includes('.s.PGSQL.') ? host : `${host}/.s.PGSQL.${port}`) : null
  const from = localAddress === undefined ? {} : { localAddress }
  const socket = path === null ? netConnect({ host, port, ...from }) : netConnect({ path })
  await opened(socket, 'connect')
  return secured(socket, options)
}

/** Where everything goes over WebSockets, poolers are not reached in any other way. */
function webOf({ port = 0 }: SocketOptions): UpgradeOptions | null {
  const web = webPorts.get(port)
  return OVER_WEB && web !== undefined ? { port: web } : null
}

/** To a test client any duplex is as good as a socket. */
async function openWebSocket(
  { host, port, localAddress }: SocketOptions,
  web: UpgradeOptions,
): Promise<Socket> {
  const at = {
    ...(host === undefined ? {} : { host }),
    ...(port === undefined ? {} : { port }),
    ...(localAddress === undefined ? {} : { localAddress }),
  }
  return (await TestWebSocket.open({ ...at, ...web })) as unknown as Socket
}

async function secured(socket: Socket, options: SocketOptions): Promise<Socket> {
  const { ssl = false } = options
  if (ssl === false) return socket
  if (ssl !== 'direct') {
    socket.write(m.sslRequest())
    const answer = await firstByte(socket)
    if (answer === 'N' && ssl === 'prefer') return socket
    if (answer !== 'S') {
      socket.destroy()
      throw new Error(`SSLRequest was answered with '${answer}'`)
    }
  }
  const secure = tlsConnect({
    rejectUnauthorized: false,
    ALPNProtocols: ['postgresql'],
    ...options.tls,
    socket,
  })
  await opened(secure, 'secureConnect')
  return secure
}

function opened(socket: Socket, event: 'connect' | 'secureConnect'): Promise<void> {
  return new Promise((resolve, reject) => {
    const lost = () => reject(new Error('the server closed the connection before it was open'))
    socket.once('error', reject).once('close', lost)
    socket.once(event, () => {
      socket.off('error', reject).off('close', lost)
      resolve()
    })
  })
}

/** The one byte that answers an SSLRequest; more than one byte is a fault that a test must see. */
function firstByte(socket: Socket): Promise<string> {
  return new Promise((resolve, reject) => {
    const lost = () => reject(new Error('the server closed the connection instead of answering SSLRequest'))
    socket.once('error', reject).once('close', lost)
    socket.once('data', (chunk: Buffer) => {
      socket.off('error', reject).off('close', lost).pause()
      if (chunk.length === 1) resolve(chunk.toString('latin1'))
      else
        reject(new Error(`SSLRequest was answered with ${chunk.length} bytes: ${chunk.toString('latin1')}`))
    })
  })
}
