// Owns the chance that production code is given. Must never be imported by the pure folders, which get a
// Random.
import { randomBytes } from 'node:crypto'
import type { Random } from '../util/env.ts'

/** Asked for at once: each question to the system costs more than a login needs of it. */
const POOL_BYTES = 4096

let pool = Buffer.alloc(0)
let used = 0

/** Bytes of the system's CSPRNG. None is given out twice, and none stays here once it was given out. */
function bytes(length: number): Buffer {
  if (length > POOL_BYTES / 8) return randomBytes(length)
  if (used + length > pool.length) {
    pool = randomBytes(POOL_BYTES)
    used = 0
  }
  const taken = Buffer.from(pool.subarray(used, used + length))
  pool.fill(0, used, used + length)
  used += length
  return taken
}

const UUID_BYTES = 16
const HEX = Buffer.from('0123456789abcdef', 'latin1')
const uuid = Buffer.from('00000000-0000-0000-0000-000000000000', 'latin1')
const DASH = uuid[8]
let uuids = Buffer.alloc(0)
let uuidsUsed = 0

/** A random UUID (version 4): a name, nothing to be kept secret. Node's own makes ten times the garbage. */
export function randomUuid(): string {
  if (uuidsUsed === uuids.length) {
    uuids = randomBytes(POOL_BYTES)
    uuidsUsed = 0
  }
  uuids[uuidsUsed + 6] = (uuids[uuidsUsed + 6]! & 0x0f) | 0x40
  uuids[uuidsUsed + 8] = (uuids[uuidsUsed + 8]! & 0x3f) | 0x80
  for (let at = 0, from = uuidsUsed; at < uuid.length; at++) {
    if (uuid[at] === DASH) continue
    const byte = uuids[from++]!
    uuid[at++] = HEX[byte >> 4]!
    uuid[at] = HEX[byte & 15]!
  }
  uuidsUsed += UUID_BYTES
  return uuid.toString('latin1')
}

/**
 * `bytes` comes from the system's CSPRNG; `next` is fast and good enough to spread things, not for secrets.
 */
export const systemRandom: Random = { next: () => Math.random(), bytes }
