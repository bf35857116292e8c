// Owns what is said about the other end of a socket and why a socket failed, in words. Must never do I/O of
// its own.
import type { PeerInfo } from '../wire/byte-stream.ts'

/** An address as the system tells it, and as Node's sockets have it; nothing where it has gone already. */
export interface PeerName {
  readonly remoteAddress?: string | undefined
  readonly remotePort?: number | undefined
}

/** Describes the peer of a connected socket. `unix` says how the socket was made: a socket does not tell. */
export function describePeer(name: PeerName, unix: boolean): PeerInfo {
  if (unix) return { kind: 'unix', address: '', port: 0, encrypted: false, loopback: true }
  const address = plainAddress(name.remoteAddress ?? '')
  const port = name.remotePort ?? 0
  return { kind: 'tcp', address, port, encrypted: false, loopback: isLoopback(address) }
}

/**
 * An IPv4 address that came in over an IPv6 socket (`::ffff:10.0.0.1`) is an IPv4 address to everybody else.
 */
export function plainAddress(address: string): string {
  return address.startsWith('::ffff:') && address.includes('.') ? address.slice(7) : address
}

/** True for 127.0.0.0/8 and ::1. */
export function isLoopback(address: string): boolean {
  return address === '::1' || address.startsWith('127.')
}

const WORDS: Readonly<Record<string, string>> = {
  ECONNREFUSED: 'connection refused',
  ECONNRESET: 'connection reset by peer',
  EPIPE: 'connection closed by peer while we were sending',
  ETIMEDOUT: 'connection timed out',
  EHOSTUNREACH: 'no route to host',
  ENETUNREACH: 'network unreachable',
  ENOTFOUND: 'host name not found',
  EAI_AGAIN: 'host name cannot be resolved at the moment',
  ENOENT: 'no such file',
  EACCES: 'permission denied',
  EMFILE: 'too many open files in this process',
  EADDRNOTAVAIL: 'address not available on this machine',
}

/** OpenSSL's own words, without the file and line of its source. */
const OPENSSL = /^[0-9A-F]+:error:[0-9A-F]+:[^:]*:[^:]*:([^:]+)/
/** What a server says by an alert, in TLS 1.3 only after the handshake. */
const ABOUT_OUR_CERTIFICATE = /alert (unknown ca|bad certificate|unsupported certificate|certificate )/

/** The reason of a socket error in words that need no errno table. */
export function errorWords(error: Error): string {
  const known = WORDS[errorCode(error)]
  if (known !== undefined) return known
  const words = OPENSSL.exec(error.message)?.[1]
  if (words === undefined) return error.message
  return ABOUT_OUR_CERTIFICATE.test(words) ? `${words}: the other side does not take our certificate` : words
}

/** The code of a system error (`ECONNRESET`), '' if it has none. */
export function errorCode(error: Error): string {
  const code = (error as NodeJS.ErrnoException).code
  return typeof code === 'string' ? code : ''
}
