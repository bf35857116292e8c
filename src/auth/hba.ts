// Which line of pg_hba.conf decides about a connection, and what a client is told that none lets in. Pure:
// the addresses of the machine are given to it. It checks no password and no certificate.
import type { HbaAddress, HbaNames, HbaRule } from '../config/types.ts'
import { type IpBytes, isInNetwork, parseIp, unmapped } from '../util/ip.ts'
import { regexFits } from '../util/regex.ts'
import type { PeerInfo } from '../wire/byte-stream.ts'
import type { Arrival } from './access.ts'
import { type AuthFailure, failure } from './failure.ts'

/** An address of this machine, with the mask of its network. */
export interface LocalAddress {
  readonly address: IpBytes
  readonly mask: IpBytes
}

/** Bytes of a name that Postgres looks at (NAMEDATALEN - 1). */
const NAME_BYTES = 63

/**
 * The first line that fits decides. @returns null where none does
 * @param local asked only where a line says samehost or samenet
 */
export function matchingRule(
  rules: readonly HbaRule[],
  arrival: Arrival,
  local: () => readonly LocalAddress[],
): HbaRule | null {
  const { peer, isPhysicalReplication, aliases = [] } = arrival
  const parsed = parseIp(peer.address)
  const address = parsed === null ? null : unmapped(parsed)
  const user = clipped(arrival.user)
  const names = [clipped(arrival.database), ...aliases]
  for (const rule of rules) {
    if (!isConnection(rule, peer)) continue
    if (!isFrom(rule.from, address, local)) continue
    const { databases, users } = rule
    const isDatabase = isPhysicalReplication
      ? databases.replication
      : names.some((name) => (databases.sameUser && name === user) || isNamed(databases, name))
    if (isDatabase && isNamed(users, user)) return rule
  }
  return null
}

/** What a client is told for which no line was found, or one that rejects it: Postgres' words. */
export function refusedByHba(arrival: Arrival, rule: HbaRule | null): AuthFailure {
  const { user, database, isPhysicalReplication, peer } = arrival
  const host = peer.kind === 'unix' ? '[local]' : peer.address
  const encryption = peer.encrypted ? 'SSL encryption' : 'no encryption'
  const replication = isPhysicalReplication ? 'replication connection ' : ''
  const what =
    rule !== null
      ? `pg_hba.conf rejects ${replication || 'connection '}for host`
      : `no pg_hba.conf entry for ${replication}${replication === '' ? '' : 'from '}host`
  const where = isPhysicalReplication ? '' : `database "${clipped(database)}", `
  return failure('28000', `${what} "${host}", user "${clipped(user)}", ${where}${encryption}`)
}

function isConnection({ connection }: HbaRule, { kind, encrypted }: PeerInfo): boolean {
  if (kind === 'unix') return connection === 'local'
  if (connection === 'hostssl') return encrypted
  return connection === 'host' || (connection === 'hostnossl' && !encrypted)
}

function isFrom(from: HbaAddress, address: IpBytes | null, local: () => readonly LocalAddress[]): boolean {
  if (from.kind === 'all') return true
  if (address === null) return false
  if (from.kind === 'network') return isInNetwork(address, from.network, from.mask)
  const whole = address.map(() => 0xff)
  return local().some((own) =>
    isInNetwork(address, own.address, from.kind === 'samenet' && own.mask.some(Boolean) ? own.mask : whole),
  )
}

function isNamed({ all, exact, patterns }: HbaNames, name: string): boolean {
  return all || exact.has(name) || patterns.some((pattern) => regexFits(pattern, name))
}

/** A name as long as Postgres takes it: a longer one is its beginning there, and must be so here. */
function clipped(name: string): string {
  const bytes = Buffer.from(name)
  return bytes.length <= NAME_BYTES ? name : bytes.toString('utf8', 0, NAME_BYTES)
}
