// IP addresses as bytes, and whether one lies in a network. Pure; it resolves no names.

/** 4 bytes (IPv4) or 16 (IPv6), in network order. */
export type IpBytes = readonly number[]

const V4_PART = /^(0|[1-9][0-9]{0,2})$/
const V6_PART = /^[0-9a-fA-F]{1,4}$/
const V4_LENGTH = 4
const V6_LENGTH = 16
/** ::ffff:0:0/96 */
const MAPPED = [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff]

/**
 * An address as people write it: four decimal numbers, or IPv6 with `::` and, if need be, a zone (`%eth0`),
 * which is left out. @returns null for everything else.
 */
export function parseIp(text: string): IpBytes | null {
  if (!text.includes(':')) return parseV4(text)
  const [address = ''] = text.split('%', 1)
  const halves = address.split('::')
  if (halves.length > 2) return null
  const front = parseGroups(halves[0] ?? '', halves.length === 1)
  const back = halves.length === 2 ? parseGroups(halves[1] ?? '', true) : []
  if (front === null || back === null) return null
  const missing = V6_LENGTH - front.length - back.length
  if (halves.length === 1 ? missing !== 0 : missing < 2) return null
  return [...front, ...new Array<number>(missing).fill(0), ...back]
}

function parseV4(text: string): IpBytes | null {
  const parts = text.split('.')
  if (parts.length !== V4_LENGTH) return null
  const bytes = parts.map((part) => (V4_PART.test(part) ? Number(part) : 256))
  return bytes.some((byte) => byte > 255) ? null : bytes
}

/** Groups between colons; the last of an address may be an IPv4 address. */
function parseGroups(text: string, isEnd: boolean): number[] | null {
  if (text === '') return []
  const bytes: number[] = []
  const groups = text.split(':')
  for (const [i, group] of groups.entries()) {
    if (isEnd && i === groups.length - 1 && group.includes('.')) {
      const tail = parseV4(group)
      if (tail === null) return null
      bytes.push(...tail)
    } else {
      if (!V6_PART.test(group)) return null
      const value = Number.parseInt(group, 16)
      bytes.push(value >> 8, value & 0xff)
    }
  }
  return bytes
}

/** An IPv4 address that came in over IPv6 (`::ffff:10.0.0.1`) is an IPv4 address. */
export function unmapped(address: IpBytes): IpBytes {
  const isMapped = address.length === V6_LENGTH && MAPPED.every((byte, i) => address[i] === byte)
  return isMapped ? address.slice(MAPPED.length) : address
}

/** The mask of `bits` bits for an address of that length; null if it has no so many. */
export function maskOf(bits: number, length: number): IpBytes | null {
  if (bits < 0 || bits > length * 8) return null
  return Array.from({ length }, (_, i) => (0xff00 >> Math.max(0, Math.min(8, bits - i * 8))) & 0xff)
}

/** Whether `address` is `network` in all bits of the mask. Other families never are. */
export function isInNetwork(address: IpBytes, network: IpBytes, mask: IpBytes): boolean {
  if (address.length !== network.length || mask.length !== network.length) return false
  return mask.every((bits, i) => (((address[i] ?? 0) ^ (network[i] ?? 0)) & bits) === 0)
}

/** A network, or one address as a network of its own. */
export interface Network {
  readonly network: IpBytes
  readonly mask: IpBytes
}

/** `10.0.0.0/8`, `fd00::/8`, or an address alone. @returns null for everything else */
export function parseNetwork(text: string): Network | null {
  const slash = text.indexOf('/')
  const network = parseIp(slash < 0 ? text : text.slice(0, slash))
  if (network === null) return null
  const width = slash < 0 ? String(network.length * 8) : text.slice(slash + 1)
  const mask = /^[0-9]{1,3}$/.test(width) ? maskOf(Number(width), network.length) : null
  return mask === null ? null : { network, mask }
}

/** The one way to write an address: IPv4 where it is one, IPv6 in lower case and as short as can be. */
export function canonicalIp(address: IpBytes): string {
  const plain = unmapped(address)
  if (plain.length === V4_LENGTH) return plain.join('.')
  const groups: string[] = []
  for (let at = 0; at < V6_LENGTH; at += 2)
    groups.push((((plain[at] ?? 0) << 8) | (plain[at + 1] ?? 0)).toString(16))
  return new URL(`http://[${groups.join(':')}]`).hostname.slice(1, -1)
}
