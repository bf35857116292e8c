// Owns: client B on its connection: does its acts in each gap, sees to it that it is told the same in each,
// and waits no longer than A's server allows. Must never be the reason why A waits.
import { setTimeout as pause } from 'node:timers/promises'
import { normalise } from '../support/transcript.ts'
import { type ClientOptions, WireClient } from '../support/wire-client.ts'
import { type Act, type Circumstances, hostileActs, ROUNDS } from './hostile-acts.ts'

/**
 * ms for which B has to be seen waiting: behind A, not behind a server that comes back by itself. While A is
 * in a transaction it does not.
 */
const BLOCKED_MS = 10
/** The same for a B that waited before A's last request. */
const STILL_BLOCKED_MS = 3
const LOOK_MS = 1
/** B may also wait inside Postgres, as a deferrable transaction does. */
const SLOW_MS = 300

/** The answers of each gap, in order, up to where they repeat themselves. */
export type Expected = readonly (readonly string[])[]

export class Neighbour {
  readonly #client: WireClient
  readonly #of: Circumstances
  /** Does somebody wait for a server? */
  readonly #isWaiting: () => boolean
  #gaps = 0
  #pending: Promise<void> | null = null
  #failure: string | null = null
  #expected: Expected | null

  private constructor(
    client: WireClient,
    of: Circumstances,
    how: { isWaiting: () => boolean; expected: Expected | null },
  ) {
    this.#client = client
    this.#of = of
    this.#isWaiting = how.isWaiting
    this.#expected = how.expected
  }

  static async connect(
    options: ClientOptions,
    of: Circumstances,
    how: { isWaiting: () => boolean; expected: Expected | null },
  ): Promise<Neighbour> {
    return new Neighbour(await WireClient.connect({ ...options, timeout: 120_000 }), of, how)
  }

  /** What B is told where nobody disturbs it. */
  static async expectation(options: ClientOptions, of: Circumstances): Promise<Expected> {
    await using client = await WireClient.connect(options)
    const neighbour = new Neighbour(client, of, { isWaiting: () => false, expected: null })
    const gaps: string[][] = []
    // The first round differs: nothing has been set before.
    for (let round = 0; round < 2 * ROUNDS; round++)
      gaps.push(await neighbour.#do(hostileActs(of, round, [])))
    await client.end()
    const error = gaps.flat().find((line) => line.startsWith('E{'))
    if (error !== undefined) throw new Error(`B cannot do what it should: ${error}`)
    return gaps
  }

  /** Why B is not content; null if it is. */
  get failure(): string | null {
    return this.#failure
  }

  /**
   * One gap between two requests of A: all acts, if B gets a server.
   * @param isHeld A has a server for a transaction
   */
  async gap(extra: readonly string[], isHeld: boolean): Promise<void> {
    const isNew = this.#pending === null
    if (this.#pending === null) {
      const answered = this.#check(hostileActs(this.#of, this.#gaps, extra)).finally(() => {
        this.#pending = null
      })
      this.#pending = answered
    }
    const limit = isHeld ? 0 : isNew ? BLOCKED_MS : STILL_BLOCKED_MS
    await Promise.race([this.#pending, this.#blocked(limit)])
  }

  /** A has gone: now B has to come through, within so many ms. */
  async settle(limitMs: number): Promise<void> {
    const late = new AbortController()
    const limit = pause(limitMs, 'late', { signal: late.signal }).catch(() => 'in time')
    const end = await Promise.race([this.#pending, limit])
    late.abort()
    if (end === 'late') this.#failure ??= `B waits for ${limitMs} ms after A has gone`
  }

  async close(): Promise<void> {
    await this.#client[Symbol.asyncDispose]()
  }

  async #check(acts: readonly Act[]): Promise<void> {
    try {
      const round = this.#gaps++
      const told = await this.#do(acts)
      const expected = this.#expected?.[round < ROUNDS ? round : ROUNDS + (round % ROUNDS)]
      const at = expected?.findIndex((line, index) => told[index] !== line) ?? -1
      if (expected !== undefined && (at >= 0 || told.length !== expected.length)) {
        const index = at < 0 ? expected.length : at
        this.#failure ??= `B is told ${told[index]}\n  instead of ${expected[index]}`
      }
    } catch (error) {
      const last = normalise(this.#client.received.slice(-1)).join()
      this.#failure ??= `B: ${(error as Error).message.split(';')[0]}; the last it was told: ${last}`
    }
  }

  async #do(acts: readonly Act[]): Promise<string[]> {
    const told: string[] = []
    for (const { bytes, isCompared } of acts) {
      this.#client.send(bytes)
      const messages = await this.#client.until('Z')
      if (isCompared) told.push(...normalise(messages))
    }
    return told
  }

  /** Resolves when B has waited for a while; there is no event for "A keeps its server". */
  async #blocked(limit: number): Promise<void> {
    const start = performance.now()
    let since = start
    while (this.#pending !== null) {
      await pause(LOOK_MS)
      const now = performance.now()
      const isWaiting = this.#isWaiting()
      if (!isWaiting) since = now
      if ((isWaiting && now - since >= limit) || now - start >= SLOW_MS) return
    }
  }
}
