// Owns: one simulated `POST /sql` on the door of the endpoint: it asks, goes away when the seed says so, and
// judges what it is told. Must never look into the pooler.

import { Doors } from '../../src/serverless/doors.ts'
import type { SqlResponse } from '../../src/serverless/http/reply.ts'
import type { SqlDoor, SqlRequest } from '../../src/serverless/http/sql-door.ts'
import type { Caller } from '../../src/serverless/types.ts'
import type { Prng } from '../support/prng.ts'
import type { RequestScript } from './request-script.ts'

/** What a request is given of its world. */
export interface RequestWorld {
  after(ms: number, run: () => void): void
  readonly door: SqlDoor
}

/** How a request goes against the rules. */
export interface RequestHabits {
  readonly random: Prng
  /** Goes after so long at most; 0: stays to the end. */
  readonly goesAfter: number
  /** How often it does not read for a while. */
  readonly pauses: number
}

/** The body of an answer. */
export interface Told {
  readonly rows?: unknown[][]
  readonly results?: { rows: unknown[][] }[]
  readonly code?: string
  readonly message?: string
}

const CALLER: Caller = {
  peer: { kind: 'websocket', address: '127.0.0.1', port: 1, encrypted: false, loopback: true },
  isSecure: true,
  origin: null,
  host: 'localhost',
}
const DOORS = new Doors({ trustProxy: [], allowedOrigins: [], allowedHosts: [], insecurePasswords: true })

export class SimRequest implements SqlRequest, SqlResponse {
  readonly script: RequestScript
  readonly method = 'POST'
  readonly url = '/sql'
  readonly headers: SqlRequest['headers']
  complete = false
  writableFinished = false
  writableLength = 0
  /** HTTP status; 0: there was none. */
  status = 0
  /** The connection is over. */
  isClosed = false
  /** All of the answer came. */
  isWhole = false
  /** It went by itself. */
  hasGone = false
  problem = ''
  readonly #habits: RequestHabits
  readonly #world: RequestWorld
  readonly #pieces: Buffer[] = []
  readonly #listeners = new Map<string, ((chunk: never) => void)[]>()

  constructor(script: RequestScript, habits: RequestHabits, world: RequestWorld) {
    this.script = script
    this.#habits = habits
    this.#world = world
    const { parameters } = script
    this.headers = {
      'neon-connection-string': `postgresql://app:x@pgmux/app${parameters === '' ? '' : `?${parameters}`}`,
      'neon-raw-text-output': 'true',
      'neon-array-mode': 'true',
    }
  }

  start(): void {
    const { random, goesAfter } = this.#habits
    if (goesAfter > 0) this.#world.after(random.between(0, goesAfter), () => this.#go())
    this.#world.door.handle(this, this, { caller: CALLER, doors: DOORS })
  }

  /** What it was told; null: nothing, or not all of it. */
  get told(): Told | null {
    return this.isWhole ? (JSON.parse(Buffer.concat(this.#pieces).toString()) as Told) : null
  }

  // ---- as what node:http gives to the endpoint

  on(event: string, listener: (chunk: never) => void): void {
    this.#listeners.set(event, [...(this.#listeners.get(event) ?? []), listener])
    if (event === 'end') this.#world.after(this.#habits.random.between(0, 10), () => this.#say())
  }

  writeHead(status: number): void {
    if (this.status !== 0) this.problem = 'a second head'
    this.status = status
  }

  write(chunk: Buffer): boolean {
    if (this.writableFinished) this.problem = 'written to behind its end'
    this.#pieces.push(Buffer.from(chunk))
    const { random, pauses } = this.#habits
    if (!random.chance(pauses)) return true
    this.#world.after(random.between(0, 200), () => this.#tell('drain'))
    return false
  }

  end(chunk: string | Buffer = ''): void {
    if (this.writableFinished) this.problem = 'a second answer'
    this.writableFinished = true
    this.#pieces.push(Buffer.from(chunk as string))
    this.isWhole = !this.isClosed
    this.#world.after(this.#habits.random.between(0, 5), () => this.#close())
  }

  destroy(): void {
    this.#world.after(0, () => this.#close())
  }

  // ---- its own part

  #say(): void {
    if (this.isClosed) return
    const queries = this.script.steps.map(({ query, params }) => ({ query, params }))
    const body = JSON.stringify(this.script.isBatch ? { queries } : queries[0])
    this.complete = true
    this.#tell('data', Buffer.from(body))
    this.#tell('end')
  }

  #go(): void {
    if (this.isClosed) return
    this.hasGone = true
    this.#close()
  }

  #close(): void {
    if (this.isClosed) return
    this.isClosed = true
    this.#tell('close')
  }

  #tell(event: string, ...chunk: Buffer[]): void {
    for (const listener of this.#listeners.get(event) ?? []) listener(...(chunk as never[] as [never]))
  }
}
