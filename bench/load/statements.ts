// The statements of pgbench's own scripts, as bytes. Each connection has its own copy and has one in flight.
import * as m from '../../test/support/messages.ts'
import { ACCOUNTS_PER_SCALE, TELLERS_PER_SCALE } from '../scenarios.ts'

/** Leading zeros change nothing in a number, and leave its place as long as it is. */
const DIGITS = 9
/** Where the number of a template stands. */
export const HOLE = '0'.repeat(DIGITS)
const NAME = 'bench_select'
/** Ends with the place of the number. */
export const SELECT = 'SELECT abalance FROM pgbench_accounts WHERE aid ='

/** Bytes with a number in them that changes each time. */
export class Template {
  readonly #bytes: Buffer
  readonly #at: number

  /** @param bytes have HOLE in them once */
  constructor(bytes: Buffer) {
    this.#bytes = bytes
    this.#at = bytes.indexOf(HOLE, 0, 'latin1')
  }

  /** @returns the same bytes each time, with another number in them */
  fill(value: number): Buffer {
    let rest = value
    for (let i = this.#at + DIGITS - 1; i >= this.#at; i--) {
      this.#bytes[i] = 48 + (rest % 10)
      rest = Math.floor(rest / 10)
    }
    return this.#bytes
  }
}

/** What selects one account in each way to ask. */
export function selectTemplate(how: 'simple' | 'extended' | 'prepared'): Template {
  if (how === 'simple') return new Template(m.query(`${SELECT} ${HOLE};`))
  const statement = how === 'prepared' ? NAME : ''
  // A prepared one is there already.
  const parse = how === 'prepared' ? [] : [m.parse(`${SELECT} $1;`)]
  const bind = m.bind({ statement, params: [HOLE] })
  return new Template(Buffer.concat([...parse, bind, m.describe('P'), m.execute(), m.sync()]))
}

/** What prepares the statement of `prepared`. */
export function prepareSelect(): Buffer {
  return Buffer.concat([m.parse(`${SELECT} $1;`, { name: NAME }), m.sync()])
}

/** @returns a whole number from 1 to `most` */
export function upTo(most: number): number {
  return 1 + Math.floor(Math.random() * most)
}

/** One transaction of TPC-B, statement by statement, as pgbench has it. */
export function tpcb(scale: number): Buffer[] {
  const aid = upTo(ACCOUNTS_PER_SCALE * scale)
  const bid = upTo(scale)
  const tid = upTo(TELLERS_PER_SCALE * scale)
  const delta = upTo(10_001) - 5001
  const texts = [
    'BEGIN;',
    `UPDATE pgbench_accounts SET abalance = abalance + ${delta} WHERE aid = ${aid};`,
    `SELECT abalance FROM pgbench_accounts WHERE aid = ${aid};`,
    `UPDATE pgbench_tellers SET tbalance = tbalance + ${delta} WHERE tid = ${tid};`,
    `UPDATE pgbench_branches SET bbalance = bbalance + ${delta} WHERE bid = ${bid};`,
    'INSERT INTO pgbench_history (tid, bid, aid, delta, mtime) ' +
      `VALUES (${tid}, ${bid}, ${aid}, ${delta}, CURRENT_TIMESTAMP);`,
    'END;',
  ]
  return texts.map((text) => m.query(text))
}
