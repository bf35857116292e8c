// The addresses of this machine, for rules that speak of them. It asks the system, and not too often.
import { networkInterfaces } from 'node:os'
import { type IpBytes, parseIp } from '../util/ip.ts'
import type { Clock } from '../util/env.ts'

/** ms for which an answer of the system is believed. */
const FRESH_FOR = 5000

interface LocalAddress {
  readonly address: IpBytes
  readonly mask: IpBytes
}

/** Tells the addresses of this machine; asks again where the last answer is old. */
export function localAddresses(clock: Clock): () => readonly LocalAddress[] {
  let known: readonly LocalAddress[] = []
  let until = Number.NEGATIVE_INFINITY
  return () => {
    if (clock.now() < until) return known
    until = clock.now() + FRESH_FOR
    known = read()
    return known
  }
}

function read(): LocalAddress[] {
  try {
    return Object.values(networkInterfaces()).flatMap((all) =>
      (all ?? []).flatMap(({ address, netmask }) => {
        const [own, mask] = [parseIp(address), parseIp(netmask)]
        return own === null || mask === null ? [] : [{ address: own, mask }]
      }),
    )
  } catch {
    // Where the system does not tell, nobody comes from this machine: fewer are let in.
    return []
  }
}
