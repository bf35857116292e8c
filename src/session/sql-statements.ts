// Owns what SQL's PREPARE has made: the text of a PREPARE under the client's own name, as a definition like
// those of the protocol, since Postgres keeps both in one table of names. It writes no messages.
import type { Effects } from '../sql/effects.ts'
import { type ClientStatements, Definition, ownCopy } from './statements.ts'

/** Behind the text of the PREPARE, which is parsed itself: its zero, and no types of parameters. */
const END = Buffer.from([0, 0, 0])
const NO_TEXT = Buffer.alloc(0)

/**
 * The definition of a PREPARE of this client.
 * @param read asked about new texts only
 * @returns null when it or the pool may keep no more text
 */
export function defineSql(
  statements: ClientStatements,
  name: string,
  { text, parseKey }: { readonly text: Buffer; readonly parseKey: number },
  read: (text: Buffer) => Effects,
): Definition | null {
  // Who sends the same text, which has the name in it, under settings that parse it alike, means the same.
  const key = `sql\0${name}\0${parseKey}\0${text.toString('latin1')}`
  const make = (id: number): Definition => {
    const body = ownCopy(Buffer.concat([text, END]))
    return new Definition(id, body, read(text), { key, parseKey, name })
  }
  return statements.defineSql(key, text.length, make)
}

/** What cannot be brought to another server: its client stays where it is. */
export function stuck(name: string, effects: Effects): Definition {
  return new Definition(0, NO_TEXT, effects, { key: '', parseKey: 0, name })
}
