// Statements about a whole database, which Postgres refuses while anybody is connected to it: who has servers
// there that nobody uses is told before such a statement is sent. It finds them, and closes nothing.
import { leadingWord } from '../sql/scanner.ts'
import type { Framer } from '../wire/framer.ts'
import type { ServerParts } from './route.ts'

/** They are short. */
const TEXT_MAX = 4096
/** Of a name that is part of a longer word more is closed than needed, which nobody notices. */
const DATABASE = /\bdatabase\b/i
const ABOUT = new Set(['create', 'alter', 'drop'])
/** 1: a text that begins with this byte may begin with one of these words, or with a comment. */
const BEGINS = new Uint8Array(256)
for (const char of 'CcAaDd/- \t\r\n;') BEGINS[char.charCodeAt(0)] = 1

/** A text that begins at `start` and ends with a zero byte is about to be sent. */
export function noteVacancy({ vacate }: ServerParts, { src, stop, rest }: Framer, start: number): void {
  if (BEGINS[src[start]] === 0 || rest > 0 || stop - start > TEXT_MAX) return
  const end = src.indexOf(0, start)
  if (end < 0 || end > stop || !ABOUT.has(leadingWord(src, start, end))) return
  const text = src.toString('utf8', start, end)
  if (DATABASE.test(text)) vacate(text)
}
