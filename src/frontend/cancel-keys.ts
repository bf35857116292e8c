// The cancel keys that clients were given: a number like a process id and a secret. It owns them; the secret
// is compared in constant time. Numbers are positive, unique, and not guessable from one another.
import { timingSafeEqual } from 'node:crypto'
import type { Random } from '../util/env.ts'

/** Key lengths: 4 bytes in protocol 3.0, 32 in 3.2. */
export const KEY_SHORT = 4
export const KEY_LONG = 32

/** Whom a cancel request is for. */
export interface Cancellable {
  /** `onOver`: the request was dropped, or can hit nothing any more. */
  cancelRequest(onOver: () => void): void
}

export interface CancelKey {
  readonly pid: number
  readonly key: Buffer
}

const TRIES = 100
const SLAB_BYTES = 4096

/** Which of several processes makes the keys. */
export interface KeyMaker {
  readonly number: number
  readonly count: number
}

const ALONE: KeyMaker = { number: 0, count: 1 }

export class CancelKeys {
  readonly #random: Random
  readonly #maker: KeyMaker
  readonly #byPid = new Map<number, { readonly key: Buffer; target: Cancellable | null }>()

  #slab = Buffer.alloc(0)
  #used = 0

  constructor(random: Random, maker: KeyMaker | null = null) {
    this.#random = random
    this.#maker = maker ?? ALONE
  }

  get size(): number {
    return this.#byPid.size
  }

  /** A new key, for whoever it is assigned to. */
  issue(length: number): CancelKey {
    for (let tries = 0; tries < TRIES; tries++) {
      // Positive: pg_basebackup and others take the number for a signed one.
      const pid = numberOf(this.#maker, this.#random.bytes(4).readUInt32BE() & 0x7fff_ffff)
      if (pid === 0 || this.#byPid.has(pid)) continue
      const key = this.#keep(this.#random.bytes(length))
      this.#byPid.set(pid, { key, target: null })
      return { pid, key }
    }
    throw new Error('no free number for a cancel key')
  }

  /**
   * Keys lie together, in memory that holds nothing else: each for itself costs ten times its bytes, and in
   * Node's own pool it would keep what lies beside it.
   */
  #keep(key: Buffer): Buffer {
    if (this.#used + key.length > this.#slab.length) {
      this.#slab = Buffer.allocUnsafeSlow(SLAB_BYTES)
      this.#used = 0
    }
    const kept = this.#slab.subarray(this.#used, this.#used + key.length)
    key.copy(kept)
    this.#used += key.length
    return kept
  }

  /** Requests with this key are for this client from now on. */
  assign(pid: number, target: Cancellable): void {
    const entry = this.#byPid.get(pid)
    if (entry !== undefined) entry.target = target
  }

  /** Was it, or could it have been, issued here? */
  isOwn(pid: number): boolean {
    return makerOf(pid, this.#maker.count) === this.#maker.number
  }

  revoke(pid: number): void {
    this.#byPid.delete(pid)
  }

  /** The client that this key was given to, or null. */
  find(pid: number, key: Buffer): Cancellable | null {
    const entry = this.#byPid.get(pid)
    if (entry === undefined || entry.key.length !== key.length || !timingSafeEqual(entry.key, key))
      return null
    return entry.target
  }
}

/** The lowest bits say who has made it: as few as are needed, the others stay a matter of chance. */
function numberOf({ number, count }: KeyMaker, random: number): number {
  const mask = maskOf(count)
  return (random & ~mask) | number
}

/** Which of so many processes has issued this number. */
export function makerOf(pid: number, count: number): number {
  return pid & maskOf(count)
}

function maskOf(count: number): number {
  let mask = 0
  while (mask + 1 < count) mask = mask * 2 + 1
  return mask
}
