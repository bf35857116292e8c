// The rules at the door for WebSocket and HTTP: where a request really comes from, which web pages may send
// one, under which names it may come. Pure: headers in, verdicts out. It knows no user and no password.
import type { ServerlessConfig } from '../config/types.ts'
import { canonicalIp, isInNetwork, type Network, parseIp, parseNetwork, unmapped } from '../util/ip.ts'
import type { PeerInfo } from '../wire/byte-stream.ts'
import type { Caller } from './types.ts'

/** Headers in lower case, as node:http gives them. */
export type RequestHeaders = Readonly<Record<string, string | readonly string[] | undefined>>

/** What a browser is told before it sends a request of another site's page. */
export interface PreflightAnswer {
  readonly status: 204 | 403
  readonly headers: Readonly<Record<string, string>>
}

type DoorRules = Pick<
  ServerlessConfig,
  'trustProxy' | 'allowedOrigins' | 'allowedHosts' | 'insecurePasswords'
>

const ANY_ORIGIN = '*'
const ASKED_BY_DRIVERS = [
  'Authorization',
  'Content-Type',
  'Traceparent',
  'Neon-Connection-String',
  'Neon-Raw-Text-Output',
  'Neon-Array-Mode',
  'Neon-Pool-Opt-In',
  'Neon-Batch-Read-Only',
  'Neon-Batch-Isolation-Level',
  'Neon-Batch-Deferrable',
].join(', ')
const NO_HEADERS: Readonly<Record<string, string>> = Object.freeze({})
/** Headers with which a proxy says whom it speaks for. */
const FORWARDING = ['x-forwarded-for', 'x-forwarded-proto', 'x-real-ip', 'forwarded']

/** Who sent a request, and what that was concluded from. */
export interface KnownCaller {
  readonly caller: Caller
  readonly doors: Doors
  readonly host: RequestHeaders[string]
  readonly origin: RequestHeaders[string]
}

/** The rules of one configuration. */
export class Doors {
  readonly #proxies: readonly Network[]
  readonly #origins: ReadonlySet<string>
  readonly #hosts: ReadonlySet<string>
  readonly #insecurePasswords: boolean

  constructor(rules: DoorRules) {
    this.#proxies = rules.trustProxy.flatMap((text) => parseNetwork(text) ?? [])
    this.#origins = new Set(rules.allowedOrigins)
    this.#hosts = new Set(rules.allowedHosts)
    this.#insecurePasswords = rules.insecurePasswords
  }

  /**
   * The same, where it is the same as for the request before on this connection: the same names, and nobody
   * says that they forward somebody else.
   * @returns null: it has to be worked out
   * @param before what was said of that one; undefined: there was none
   */
  sameCaller(headers: RequestHeaders, before: KnownCaller | undefined): Caller | null {
    if (before === undefined || before.doors !== this || headers.host !== before.host) return null
    return headers.origin === before.origin && !isForwarded(headers) ? before.caller : null
  }

  /** Who sent a request with these headers. @param socket the other end of the connection it came on */
  caller(headers: RequestHeaders, socket: PeerInfo): Caller {
    const peer = this.#origin(headers, socket)
    const isSecure = peer.encrypted || peer.loopback
    const origin = textOf(headers.origin)
    const host = hostOf(textOf(headers.host) ?? '')
    const isOriginNamed = origin === null || this.#origins.has(origin)
    const web = {
      isOriginAllowed: isOriginNamed || this.#origins.has(ANY_ORIGIN),
      isOriginNamed,
      isHostKnown: isUnmistakable(host) || this.#hosts.has(host),
      takesPasswords: isSecure || this.#insecurePasswords,
    }
    return { peer: { ...peer, kind: 'websocket', web }, isSecure, origin, host }
  }

  /** Looks through the proxies that are trusted. Whoever stands behind one is never on this machine. */
  #origin(headers: RequestHeaders, socket: PeerInfo): PeerInfo {
    if (!this.#isProxy(parseIp(socket.address))) {
      // Somebody forwards others to us and nobody told us whom to believe: they are not of this machine.
      return socket.loopback && isForwarded(headers) ? { ...socket, loopback: false } : socket
    }
    const forwarded = listOf(headers['x-forwarded-for'])
    let address = socket.address
    for (let at = forwarded.length - 1; at >= 0; at--) {
      const hop = addressOf(forwarded[at] ?? '')
      // What cannot be read was written in front of the last proxy whose word counts.
      if (hop === null) break
      address = canonicalIp(hop)
      if (!this.#isProxy(hop)) break
    }
    const protocols = listOf(headers['x-forwarded-proto'])
    const encrypted = protocols.length > 0 && protocols.every((name) => /^(https|wss)$/i.test(name))
    const port = address === socket.address ? socket.port : 0
    return { kind: socket.kind, address, port, encrypted, loopback: false }
  }

  #isProxy(parsed: ReturnType<typeof parseIp>): boolean {
    if (parsed === null || this.#proxies.length === 0) return false
    const address = unmapped(parsed)
    return this.#proxies.some(({ network, mask }) => isInNetwork(address, network, mask))
  }

  /** Headers that each answer to this request needs so that a page may read it. */
  cors(origin: string | null): Readonly<Record<string, string>> {
    if (this.#origins.size === 0) return NO_HEADERS
    if (origin === null || !this.#allows(origin)) return { vary: 'Origin' }
    return {
      'access-control-allow-origin': origin,
      'access-control-expose-headers': 'neon-request-id',
      vary: 'Origin',
    }
  }

  /** The answer to `OPTIONS`. */
  preflight(headers: RequestHeaders): PreflightAnswer {
    const origin = textOf(headers.origin)
    const common = { ...this.cors(origin), allow: 'OPTIONS, POST' }
    if (origin === null || !this.#allows(origin)) return { status: 403, headers: common }
    const isPrivate = textOf(headers['access-control-request-private-network']) === 'true'
    return {
      status: 204,
      headers: {
        ...common,
        vary: 'Origin, Access-Control-Request-Private-Network',
        'access-control-allow-methods': 'POST, OPTIONS',
        'access-control-allow-headers': ASKED_BY_DRIVERS,
        'access-control-max-age': '86400',
        ...(isPrivate ? { 'access-control-allow-private-network': 'true' } : {}),
      },
    }
  }

  #allows(origin: string): boolean {
    return this.#origins.has(origin) || this.#origins.has(ANY_ORIGIN)
  }
}

/** A proxy says whom it speaks for. */
export function isForwarded(headers: RequestHeaders): boolean {
  for (const name of FORWARDING) if (headers[name] !== undefined) return true
  return false
}

function textOf(value: string | readonly string[] | undefined): string | null {
  if (value === undefined) return null
  return typeof value === 'string' ? value : value.join(', ')
}

function listOf(value: string | readonly string[] | undefined): string[] {
  const text = textOf(value)
  return text === null ? [] : text.split(',').map((part) => part.trim())
}

/** `1.2.3.4`, `1.2.3.4:80`, `2001:db8::1`, `[2001:db8::1]:80`. */
function addressOf(text: string): ReturnType<typeof parseIp> {
  const inBrackets = /^\[([^\]]+)\](:\d+)?$/.exec(text)?.[1]
  if (inBrackets !== undefined) return parseIp(inBrackets)
  return parseIp(text.replace(/^([^:]+):\d+$/, '$1'))
}

/** A `Host` without its port. */
function hostOf(text: string): string {
  return text.toLowerCase().replace(/:\d*$/, '').replace(/\.$/, '')
}

/** Whoever owns a domain can have its names mean any address, for a moment this one; not so with these. */
function isUnmistakable(host: string): boolean {
  if (host === 'localhost' || host.endsWith('.localhost')) return true
  return parseIp(host.startsWith('[') && host.endsWith(']') ? host.slice(1, -1) : host) !== null
}
