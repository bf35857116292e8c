// Owns which names of prepared statements a text makes, runs and drops, in the order in which it does so, and
// where in it a PREPARE stands. It never judges whether they exist.
import { isUtf8 } from 'node:buffer'
import { ENCODING, UTF8 } from './lexer.ts'
import type { PreparedUse, Statement } from './verdict.ts'

/** What a text does with one name. */
export interface NameUse {
  readonly how: PreparedUse['how']
  /** One character a byte, as the client would send it in a message of the protocol; null: all names. */
  readonly name: string | null
  /** Of a PREPARE: where it stands; null: that cannot be told. */
  readonly place: readonly [start: number, stop: number] | null
}

/** Of texts that use none. */
export const NO_USES: readonly NameUse[] = Object.freeze([])

/** @param flags how the text is read (`Reading.flags`) */
export function nameUses(text: Buffer, flags: number, verdict: readonly Statement[]): readonly NameUse[] {
  if (!verdict.some(({ prepared }) => prepared.length > 0)) return NO_USES
  const isPlain = (flags & ENCODING) === UTF8 && isUtf8(text)
  const hasPlaces = isPlain || text.every((byte) => byte < 0x80)
  return verdict.flatMap(({ prepared, start, stop }) =>
    prepared.map(({ how, name }) => ({
      how,
      name: name === null ? null : bytesOf(name, isPlain),
      place: placeOf(text, verdict.length, hasPlaces ? [start, stop ?? text.length] : null),
    })),
  )
}

/** See `transcode`: without UTF-8 each letter of a name stands for one byte. */
function bytesOf(name: string, isPlain: boolean): string {
  return Buffer.from(name, isPlain ? 'utf8' : 'latin1').toString('latin1')
}

/** A text of one statement is taken as a whole, with what stands around it. */
function placeOf(text: Buffer, count: number, place: [number, number] | null): [number, number] | null {
  return count === 1 ? [0, text.length] : place
}
