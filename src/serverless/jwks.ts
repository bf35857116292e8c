// The keys that sign tokens: where they come from (a file, or one address of the configuration), and when
// they are read again. It keeps the last good ones. It judges no token and asks no address that one names.
import type { JSONWebKeySet, JWTVerifyGetKey } from 'jose'
import { jose, NO_SUCH_KEY } from '../auth/jwt.ts'
import { readFileNow } from '../util/read-file.ts'

/** Longest set of keys. */
export const KEYS_MAX = 64 * 1024
/** Older keys are read again beside a token; those as old as this must have been. */
const FRESH_MS = 300_000
const STALE_MS = 3_600_000
/** After a try, whatever came of it, the next one waits so long. */
const COOL_DOWN_MS = 30_000

/** A set of keys that cannot be used, or had. */
export class KeysError extends Error {
  override name = 'KeysError'
}

export interface KeySource {
  /** For jose; throws KeysError where there are no keys, or only too old ones. */
  readonly get: JWTVerifyGetKey
}

/** @throws KeysError one sentence; nothing of the text stands in it */
export function keySetOf(text: string): JWTVerifyGetKey {
  let parsed: unknown
  try {
    parsed = JSON.parse(text)
  } catch {
    throw new KeysError('it is no JSON')
  }
  const keys = (parsed as { keys?: unknown } | null)?.keys
  if (!Array.isArray(keys)) throw new KeysError('it is no set of keys: it has no list "keys"')
  const usable = keys.filter(isUsable)
  if (usable.length === 0)
    throw new KeysError('none of its keys can be used: each needs "kid", and must be public')
  let get: JWTVerifyGetKey | null = null
  return async (header, token) => {
    // Without it any key of a fitting kind would do.
    if (typeof header.kid !== 'string')
      throw Object.assign(new Error('the token names no key'), { code: NO_SUCH_KEY })
    get ??= (await jose()).createLocalJWKSet({ keys: usable } as JSONWebKeySet)
    return get(header, token)
  }
}

/** Public keys for signatures, with a name. What is secret has no business here. */
function isUsable(key: unknown): boolean {
  if (typeof key !== 'object' || key === null) return false
  const { kid, kty, use = 'sig', d } = key as Record<string, unknown>
  return typeof kid === 'string' && kid !== '' && kty !== 'oct' && use === 'sig' && d === undefined
}

/** The keys in a file, as it is now. @throws KeysError */
export function keysOfFile(file: string): KeySource {
  try {
    return { get: keySetOf(readFileNow(file, KEYS_MAX).toString('utf8')) }
  } catch (thrown) {
    throw new KeysError(`cannot use the keys in ${file}: ${(thrown as Error).message}`)
  }
}

export interface UrlKeysParts {
  /** Fetches the set. @throws Error one clause */
  fetch(): Promise<string>
  /** Milliseconds that only go forward. */
  now(): number
  /** Why the keys could not be read; whoever runs the pooler should know. */
  onProblem(problem: string): void
  /** Other keys than before: what was believed must be looked at again. */
  onChange(): void
}

/** The keys at an address. They are read when they are needed, or old, or lack one that a token names. */
export class UrlKeys implements KeySource {
  readonly #parts: UrlKeysParts
  #set: JWTVerifyGetKey | null = null
  #text = ''
  #readAt = Number.NEGATIVE_INFINITY
  #triedAt = Number.NEGATIVE_INFINITY
  #reading: Promise<void> | null = null

  constructor(parts: UrlKeysParts) {
    this.#parts = parts
  }

  readonly get: JWTVerifyGetKey = async (header, token) => {
    const age = this.#parts.now() - this.#readAt
    if (age > STALE_MS) await this.#read()
    else if (age > FRESH_MS) void this.#read()
    if (this.#parts.now() - this.#readAt > STALE_MS) throw new KeysError('there are no keys')
    try {
      return await this.#keyOf(header, token)
    } catch (thrown) {
      // A new key: its issuer has begun to sign with it.
      const isNew = (thrown as { code?: string }).code === NO_SUCH_KEY && typeof header.kid === 'string'
      if (!isNew || !(await this.#read())) throw thrown
      return await this.#keyOf(header, token)
    }
  }

  /** Ahead of the first token. */
  warm(): void {
    void this.#read()
  }

  #keyOf(...asked: Parameters<JWTVerifyGetKey>): ReturnType<JWTVerifyGetKey> {
    if (this.#set === null) throw new KeysError('there are no keys')
    return this.#set(...asked)
  }

  /** @returns whether they were read just now */
  async #read(): Promise<boolean> {
    if (this.#reading === null) {
      if (this.#parts.now() - this.#triedAt < COOL_DOWN_MS) return false
      this.#triedAt = this.#parts.now()
      this.#reading = this.#fetch().finally(() => {
        this.#reading = null
      })
    }
    const before = this.#readAt
    await this.#reading
    return this.#readAt !== before
  }

  async #fetch(): Promise<void> {
    const { fetch, now, onProblem, onChange } = this.#parts
    try {
      const text = await fetch()
      if (text !== this.#text) {
        this.#set = keySetOf(text)
        this.#text = text
        onChange()
      }
      this.#readAt = now()
    } catch (thrown) {
      onProblem((thrown as Error).message)
    }
  }
}
