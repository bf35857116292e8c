// Owns: what a simulated `POST /sql` asks for, and what it must be told: one statement, or a batch. Every
// statement carries the request's number; nothing that it sees may be of anybody else. Must never depend on
// an answer.

import type { PoolMode } from '../../src/config/types.ts'
import type { Prng } from '../support/prng.ts'
import { LITTER, LITTER_SHOWN } from './statements.ts'

/** One statement, and the rows that it gives; null: nobody looks at them. */
interface Step {
  readonly query: string
  readonly params: readonly string[]
  readonly rows: readonly (readonly (string | null)[])[] | null
}

export interface RequestScript {
  /** As of a client: in front of all its numbers. */
  readonly id: string
  /** Behind the `?` of its connection string. */
  readonly parameters: string
  readonly isBatch: boolean
  readonly steps: readonly Step[]
  /** SQLSTATE of the error that it runs into by itself; '' : none. */
  readonly fails: string
  /** Numbers of its INSERTs: all are committed, or none. */
  readonly inserts: readonly string[]
}

const ZONES = ['GMT', 'Europe/Berlin', 'Asia/Tokyo']
const FAILING: readonly [query: string, code: string][] = [
  ['select 1/0', '22012'],
  ['boom now', '42601'],
  ['select * from missing1', '42P01'],
  [`set timezone = 'Nowhere/Else'`, '22023'],
]

class Writer {
  readonly #id: string
  readonly #random: Prng
  /** What the session has, in the order of the columns of `nonce`. */
  readonly #seen = { name: '', zone: 'UTC', style: 'ISO, MDY', memory: '4MB', user: 'app' }
  #litter = ''
  #hasPrepared = false
  #nonce = 0
  readonly inserts: string[] = []
  fails = ''
  parameters = ''

  constructor(id: string, random: Prng) {
    this.#id = id
    this.#random = random
  }

  login(): void {
    const random = this.#random
    const wishes: string[] = []
    const seen = this.#seen
    if (random.chance(0.4)) {
      seen.name = `${this.#id}.v0`
      wishes.push(`application_name=${seen.name}`)
    }
    if (random.chance(0.2)) {
      seen.zone = random.pick(ZONES)
      wishes.push(`TimeZone=${encodeURIComponent(seen.zone)}`)
    }
    if (random.chance(0.1)) {
      seen.memory = '8MB'
      wishes.push('options=-c%20work_mem%3D8MB')
    }
    this.parameters = wishes.join('&')
  }

  step(isBatch: boolean, mode: PoolMode): Step {
    const random = this.#random
    const roll = random.below(isBatch ? 10 : 13)
    if (roll < 3) return this.#look()
    if (roll < 5) return this.#change()
    if (roll === 5) return this.#insert()
    if (roll === 6) return this.#leaveBehind()
    if (roll === 7) return plain(`select generate_series(1, ${random.pick([5, 2000])}) as n`, null)
    if (roll === 8) return this.failing()
    if (roll <= 10) return this.#looksForLitter()
    if (roll === 11) return plain(random.pick(['discard all', 'deallocate all']))
    if (mode === 'statement') this.fails ||= '0A000'
    return plain('begin')
  }

  failing(): Step {
    const [query, code] = this.#random.pick(FAILING)
    this.fails ||= code
    return plain(query)
  }

  #next(): string {
    return `${this.#id}:${++this.#nonce}`
  }

  #look(): Step {
    const nonce = this.#next()
    const { name, zone, style, memory, user } = this.#seen
    const rows = [[nonce, 'asked', name, zone, style, memory, user, this.#litter]]
    return { query: `select nonce($1, 'asked')`, params: [nonce], rows }
  }

  /** Of what others leave behind and Postgres does not report it sees nothing. */
  #looksForLitter(): Step {
    return plain(LITTER_SHOWN, [[this.#litter]])
  }

  #leaveBehind(): Step {
    if (this.#hasPrepared || this.#random.chance(0.3)) return plain('listen news')
    this.#hasPrepared = true
    return plain('prepare q1 as select 1')
  }

  #change(): Step {
    const random = this.#random
    const seen = this.#seen
    switch (random.below(5)) {
      case 0:
        seen.name = `${this.#id}.v1`
        return plain(`set application_name = '${seen.name}'`)
      case 1:
        seen.zone = random.pick(ZONES)
        return plain(`set timezone = '${seen.zone}'`)
      case 2:
        seen.style = 'SQL, DMY'
        return plain(`set datestyle = '${seen.style}'`)
      case 3:
        this.#litter = this.#id
        return plain(`set ${LITTER} = '${this.#litter}'`)
      default:
        seen.memory = '16MB'
        return plain(`set work_mem = '${seen.memory}'`)
    }
  }

  #insert(): Step {
    const nonce = this.#next()
    this.inserts.push(nonce)
    return plain(`insert into sink values ('${nonce}')`)
  }
}

function plain(query: string, rows: Step['rows'] = []): Step {
  return { query, params: [], rows }
}

/** The request with this number. */
export function writeRequest(number: number, random: Prng, mode: PoolMode): RequestScript {
  const id = `c${number}`
  const writer = new Writer(id, random)
  writer.login()
  const isBatch = random.chance(0.4)
  const count = isBatch ? random.between(1, 5) : 1
  const steps = Array.from({ length: count }, () => writer.step(isBatch, mode))
  if (isBatch && random.chance(0.3)) steps.push(writer.failing())
  const { parameters, fails, inserts } = writer
  return { id, parameters, isBatch, steps, fails, inserts }
}
