// Random numbers for traces and spans, made many at a time: one by one they cost more than all else of a
// span. It owns those that are left.
import type { Random } from '../util/env.ts'

/** Bytes that are made at once. */
const STOCK = 4096

export class RandomIds {
  readonly #random: Random
  #stock = ''
  #at = 0

  constructor(random: Random) {
    this.#random = random
  }

  /** So many hexadecimal digits, no two the same. */
  next(digits: 16 | 32): string {
    if (this.#at + digits > this.#stock.length) {
      this.#stock = this.#random.bytes(STOCK).toString('hex')
      this.#at = 0
    }
    this.#at += digits
    return this.#stock.slice(this.#at - digits, this.#at)
  }
}
