// Logins to the dashboard, in memory only. It owns which there are and when they end; what one may do is
// asked of the configuration each time, so that a right that is taken away is gone at once. What is kept of a
// cookie is a digest, so that finding it takes the same time whatever was guessed.
import { hash } from 'node:crypto'
import type { Clock, Random } from '../../util/env.ts'

const HOUR_MS = 3_600_000
/** However much it is used. */
const LIFE_MS = 12 * HOUR_MS
const UNUSED_MS = HOUR_MS
/** Of all users; the one that was used longest ago goes first. */
export const SESSIONS_MAX = 100
const TOKEN_BYTES = 32
/** Of one request that are looked at. */
const COOKIES_MAX = 4
const NAME = 'pgmux_session'

/** One login. */
export interface Session {
  readonly user: string
  /** The secret that the configuration had for the user: with another one the login is over. */
  readonly secret: string | null
}

interface Kept extends Session {
  readonly since: number
  usedAt: number
}

export class Sessions {
  readonly #clock: Clock
  readonly #random: Random
  /** In order of use, the latest last. */
  readonly #all = new Map<string, Kept>()

  constructor(clock: Clock, random: Random) {
    this.#clock = clock
    this.#random = random
  }

  /** @returns the header that gives the browser its cookie */
  open(session: Session): string {
    const token = this.#random.bytes(TOKEN_BYTES).toString('base64url')
    const now = this.#clock.now()
    this.#all.set(digestOf(token), { ...session, since: now, usedAt: now })
    if (this.#all.size > SESSIONS_MAX) this.#dropOldest()
    return cookie(token, LIFE_MS / 1000)
  }

  #dropOldest(): void {
    for (const key of this.#all.keys()) {
      this.#all.delete(key)
      return
    }
  }

  /** @param header the cookies of a request */
  find(header: string | undefined): Session | null {
    const now = this.#clock.now()
    for (const key of keysIn(header)) {
      const found = this.#all.get(key)
      if (found === undefined) continue
      this.#all.delete(key)
      if (now - found.since >= LIFE_MS || now - found.usedAt >= UNUSED_MS) continue
      found.usedAt = now
      this.#all.set(key, found)
      return found
    }
    return null
  }

  /** @returns the header that takes the cookie away */
  end(header: string | undefined): string {
    for (const key of keysIn(header)) this.#all.delete(key)
    return cookie('', 0)
  }
}

function keysIn(header = ''): string[] {
  const given = header
    .split(';')
    .map((one) => one.trim().split('='))
    .filter(([name]) => name === NAME)
  return given.slice(0, COOKIES_MAX).map(([, token = '']) => digestOf(token))
}

function digestOf(token: string): string {
  return hash('sha256', token, 'base64url')
}

function cookie(token: string, seconds: number): string {
  return `${NAME}=${token}; HttpOnly; SameSite=Strict; Path=/; Max-Age=${seconds}`
}
