// Owns: what a simulated client says: seeded conversations whose every statement carries the client's number.
// Must never depend on an answer, so that the same conversation can be held with Postgres alone.

import type { PoolMode } from '../../src/config/types.ts'
import * as m from '../support/messages.ts'
import type { Prng } from '../support/prng.ts'
import { LITTER } from './statements.ts'

/** Bytes, and what is waited for before the next are sent. */
export interface Part {
  readonly bytes: Buffer
  /** ReadyForQuery that these bytes are worth. */
  readonly ready: number
  /** Message types that end the wait as well; '' for none. */
  readonly until: string
  /** Not sent when the part before ended in ReadyForQuery. */
  readonly onlyInside?: boolean
  /** ReadyForQuery that come as well when the first message is refused. */
  readonly spare?: number
}

export interface Script {
  readonly id: number
  readonly parameters: Record<string, string>
  readonly actions: readonly (readonly Part[])[]
}

export interface ScriptRules {
  /** BEGIN and COMMIT may be used. */
  readonly transactions: boolean
  /** RESET and DISCARD ALL may be used. */
  readonly resets: boolean
}

const ZONES = ['UTC', 'GMT', 'Europe/Berlin', 'Asia/Tokyo']

/** Makes one client's script. */
class Writer {
  readonly id: number
  readonly random: Prng
  readonly rules: ScriptRules
  #nonce = 0
  #version = 0
  /** Names as this client believes them to be; wrong beliefs are welcome. */
  readonly #names = new Map<string, string>()

  constructor(id: number, random: Prng, rules: ScriptRules) {
    this.id = id
    this.random = random
    this.rules = rules
  }

  nonce(): string {
    return `c${this.id}:${++this.#nonce}`
  }

  name(): string {
    return `c${this.id}.v${++this.#version}`
  }

  action(): Part[] {
    const kinds: [number, () => Part[]][] = [
      [6, () => [simple(this.text())]],
      [2, () => this.reads()],
      [2, () => [simple(`${this.text()}; ${this.text()}`)]],
      [5, () => [batch(...this.unnamed())]],
      [3, () => this.split()],
      [6, () => [batch(...this.named())]],
      [3, () => [batch(...this.manage())]],
      [3, () => [this.pipeline()]],
      [2, () => this.flushing()],
      [2, () => this.copy()],
      [1, () => [simple(`copy (select generate_series(1, ${this.random.pick([3, 400])})) to stdout`)]],
      [1, () => [simple(`select generate_series(1, ${this.random.pick([5, 3000])}) as n`)]],
      [3, () => [simple(this.setting())]],
      [2, () => [simple(this.failing())]],
      [1, () => [batch(...this.failingBatch())]],
      [1, () => [simple(this.rules.resets ? 'discard all' : 'deallocate all')]],
      [1, () => [{ bytes: m.functionCall(4_000_000), ready: 1, until: '' }]],
      [1, () => [simple('')]],
      [1, () => [batch()]],
      [2, () => [batch(...this.rows())]],
    ]
    if (this.rules.transactions) kinds.push([5, () => this.transaction()])
    let ticket = this.random.below(kinds.reduce((sum, [weight]) => sum + weight, 0))
    for (const [weight, make] of kinds) {
      ticket -= weight
      if (ticket < 0) return make()
    }
    return []
  }

  text(): string {
    if (this.random.chance(0.2)) return `insert into sink values ('${this.nonce()}')`
    return `select nonce('${this.nonce()}')`
  }

  /** Single reads, which may share servers. */
  reads(): Part[] {
    const { random } = this
    const parts: Part[] = []
    for (let count = random.between(1, 4); count > 0; count--) {
      const describe = random.chance(0.5) ? [m.describe('P')] : []
      const text = `select seen($1, '${random.pick(['shared', `c${this.id}`])}-r')`
      const roll = random.below(4)
      if (roll === 0) parts.push(simple(`select seen('${this.nonce()}')`))
      else if (roll === 1)
        parts.push(batch(m.parse(text), m.bind({ params: [this.nonce()] }), ...describe, m.execute()))
      // Always the same, so that it is prepared where it runs beside others.
      else if (roll === 2)
        parts.push(
          batch(m.parse('select seen($1)'), m.bind({ params: [this.nonce()] }), ...describe, m.execute()),
        )
      else {
        const run = [m.bind({ statement: 'r1', params: [this.nonce()] }), ...describe, m.execute()]
        const isKnown = this.#names.has('r1')
        this.#names.set('r1', text)
        parts.push(isKnown ? batch(...run) : batch(m.parse(text, { name: 'r1' }), ...run))
      }
    }
    return parts
  }

  setting(): string {
    const { random } = this
    const scope = random.chance(0.15) ? 'local ' : ''
    if (random.chance(0.1)) return 'reset work_mem'
    if (this.rules.resets && random.chance(0.15)) return `reset ${random.pick(['timezone', 'datestyle'])}`
    const value = random.pick([
      `application_name = '${this.name()}'`,
      `timezone = '${random.pick(ZONES)}'`,
      `timezone = '${random.pick(ZONES)}'`,
      `datestyle = '${random.pick(['SQL, DMY', 'ISO, MDY', 'German', 'ymd'])}'`,
      `timezone = 'Nowhere/Else'`,
      `work_mem = '${random.pick(['4MB', '5MB', '9MB'])}'`,
      `${LITTER} = '${this.name()}'`,
      `${LITTER} = '${this.name()}'`,
    ])
    return `set ${scope}${value}`
  }

  failing(): string {
    return this.random.pick([
      'select 1/0',
      'boom now',
      'select * from missing1',
      `${this.text()}; select 1/0; ${this.text()}`,
    ])
  }

  /** Parse, Bind, Describe, Execute of the unnamed statement. */
  unnamed(): Buffer[] {
    const describe = this.random.chance(0.5) ? [m.describe('P')] : []
    if (this.random.chance(0.3)) return [m.parse(this.text()), m.bind(), ...describe, m.execute()]
    return [m.parse(this.labelled()), m.bind({ params: [this.nonce()] }), ...describe, m.execute()]
  }

  /** A statement with a parameter, and a label that says whose it is. */
  labelled(): string {
    return `select nonce($1, '${this.random.chance(0.4) ? 'shared' : `c${this.id}`}-${this.random.below(3)}')`
  }

  /** Parse in one exchange, Bind in another. */
  split(): Part[] {
    const parts = [batch(m.parse(this.labelled()), ...(this.random.chance(0.5) ? [m.describe('S')] : []))]
    if (this.random.chance(0.3)) parts.push(batch(m.describe('S')))
    for (let count = this.random.between(1, 2); count > 0; count--) {
      parts.push(batch(m.bind({ params: [this.nonce()] }), m.execute()))
    }
    return parts
  }

  statementName(): string {
    return this.random.pick(['s1', 's1', 's2', 's3'])
  }

  /** A named statement, parsed when it is not there yet. The names collide with those of other clients. */
  named(): Buffer[] {
    const name = this.statementName()
    const out: Buffer[] = []
    if (!this.#names.has(name)) {
      const text = this.labelled()
      this.#names.set(name, text)
      out.push(m.parse(text, { name }))
      if (this.random.chance(0.3)) out.push(m.describe('S', name))
    }
    out.push(m.bind({ statement: name, params: [this.nonce()] }))
    if (this.random.chance(0.3)) out.push(m.describe('P'))
    out.push(m.execute())
    return out
  }

  /** Close, Parse over a name that is taken, Bind and Describe of one that is not there. */
  manage(): Buffer[] {
    const { random } = this
    const name = this.statementName()
    const roll = random.below(7)
    if (roll === 0 || roll === 6) return [m.parse(this.labelled(), { name })]
    if (roll === 1) return [m.describe('S', name)]
    if (roll === 2) return [m.bind({ statement: 'nowhere', params: [] }), m.execute()]
    if (roll === 3) return [m.parse('boom now', { name: 's4' }), ...this.unnamed()]
    this.#names.delete(name)
    if (roll === 4) return [m.close('S', name)]
    const text = this.labelled()
    this.#names.set(name, text)
    return [
      m.close('S', name),
      m.parse(text, { name }),
      m.bind({ statement: name, params: [this.nonce()] }),
      m.execute(),
    ]
  }

  /** Several exchanges in one write. */
  pipeline(): Part {
    const parts: Buffer[] = []
    const count = this.random.between(2, 6)
    for (let index = 0; index < count; index++) {
      const roll = this.random.below(7)
      if (roll === 0) parts.push(m.query(this.text()))
      else {
        const messages =
          roll < 3 ? this.named() : roll < 4 ? this.manage() : roll < 5 ? this.failingBatch() : this.unnamed()
        parts.push(...messages, m.sync())
      }
    }
    return { bytes: Buffer.concat(parts), ready: count, until: '' }
  }

  failingBatch(): Buffer[] {
    const bad = this.random.chance(0.5)
      ? [m.parse('select 1/0'), m.bind(), m.execute()]
      : [m.parse('boom now')]
    return [...(this.random.chance(0.5) ? this.unnamed() : []), ...bad, ...this.unnamed(), ...this.named()]
  }

  /** Asks for the description first, with Flush, as some drivers do. */
  flushing(): Part[] {
    const text = this.random.chance(0.8) ? this.labelled() : 'boom now'
    const first = Buffer.concat([m.parse(text), m.describe('S'), m.flush()])
    const last = [m.bind({ params: [this.nonce()] }), m.execute()]
    return [{ bytes: first, ready: 0, until: 'TnE' }, batch(...last)]
  }

  /** COPY in both protocols, with good and bad data, in one go or step by step. */
  copy(): Part[] {
    const { random } = this
    const table = random.pick(['sink', 'numbers'])
    const lines = Array.from({ length: random.below(4) }, () =>
      m.copyData(random.pick(['1\n', '22\n', '3\n', 'x\n'])),
    )
    const end = random.chance(0.8) ? m.copyDone() : m.copyFail('no more')
    const data = Buffer.concat([...lines, end])
    const text = `copy ${table} from stdin`
    const roll = random.below(5)
    if (roll === 0) return [{ bytes: Buffer.concat([m.query(text), data]), ready: 1, until: '' }]
    if (roll === 1) {
      const start = { bytes: m.query(text), ready: 1, until: 'G' }
      return [start, { bytes: data, ready: 1, until: '', onlyInside: true }]
    }
    const start = Buffer.concat([m.parse(text), m.bind(), m.execute()])
    if (roll === 2) return [{ bytes: Buffer.concat([start, data, m.sync()]), ready: 1, until: '' }]
    // The Sync in front of the data is read, and ignored, by the COPY.
    if (roll === 3) {
      return [{ bytes: Buffer.concat([start, m.sync(), data, m.sync()]), ready: 1, until: '', spare: 1 }]
    }
    const flushed = { bytes: Buffer.concat([start, m.flush()]), ready: 0, until: 'GE' }
    return [flushed, { bytes: Buffer.concat([data, m.sync()]), ready: 1, until: '' }]
  }

  /** A portal read in pieces. */
  rows(): Buffer[] {
    const text = `select generate_series(1, ${this.random.between(1, 6)}) as n`
    return [m.parse(text), m.bind({ portal: 'p' }), m.execute('p', 2), m.execute('p', 2), m.execute('p')]
  }

  /** An error, and often a Parse in the transaction that has failed. */
  failure(): Part[] {
    const failing = simple(this.failing())
    if (this.random.chance(0.4)) return [failing]
    const text = `select nonce($1, 'shared-${this.random.below(3)}')`
    return [failing, batch(m.parse(text, { name: this.random.pick(['s5', 's6']) }))]
  }

  transaction(): Part[] {
    const { random } = this
    const parts = [random.chance(0.8) ? simple('begin') : batch(m.parse('begin'), m.bind(), m.execute())]
    for (let count = random.between(1, 4); count > 0; count--) {
      const roll = random.below(9)
      if (roll < 3) parts.push(simple(this.text()))
      else if (roll < 5) parts.push(batch(...this.named()))
      else if (roll < 6) parts.push(simple(this.setting()))
      else if (roll < 7) parts.push(...this.failure())
      else if (roll < 8) parts.push(...this.split())
      else parts.push(simple(random.pick(['savepoint a', 'rollback to a', 'release a'])))
    }
    const end = random.pick(['commit', 'commit', 'rollback', 'end'])
    const isExtended = random.chance(0.3)
    parts.push(isExtended ? batch(m.parse(end), m.bind(), m.execute()) : simple(end))
    return parts
  }
}

function simple(sql: string): Part {
  return { bytes: m.query(sql), ready: 1, until: '' }
}

function batch(...messages: Buffer[]): Part {
  return { bytes: Buffer.concat([...messages, m.sync()]), ready: 1, until: '' }
}

interface About {
  readonly mode: PoolMode
  readonly length: number
  /** Nearly all that it does is to read, under the settings that all have. */
  readonly isReading?: boolean
}

function readingScript(id: number, random: Prng, { mode, length }: About): Script {
  const writer = new Writer(id, random, { transactions: mode !== 'statement', resets: false })
  const actions = Array.from({ length: random.between(1, length) }, () =>
    random.chance(0.9) ? writer.reads() : writer.action(),
  )
  return { id, parameters: { user: 'app', database: 'app' }, actions }
}

/**
 * A conversation for the client with this number.
 * In modes that share servers RESET does not go back to what a client asked for at its login, so that only
 * those use it who asked for nothing.
 */
export function writeScript(id: number, random: Prng, about: About): Script {
  const parameters: Record<string, string> = { user: 'app', database: 'app' }
  if (about.isReading === true) return readingScript(id, random, about)
  const isNamed = random.chance(0.5)
  if (isNamed) parameters.application_name = `c${id}.v0`
  if (isNamed && random.chance(0.5)) parameters.TimeZone = random.pick(ZONES)
  if (random.chance(0.1)) parameters.options = '-c work_mem=8MB'
  const rules = { transactions: about.mode !== 'statement', resets: !isNamed || about.mode === 'session' }
  const writer = new Writer(id, random, rules)
  const actions = Array.from({ length: random.between(1, about.length) }, () => writer.action())
  if (!isNamed) actions.unshift([simple(`set application_name = '${writer.name()}'`)])
  return { id, parameters, actions }
}
