// Finds the trace to which a statement belongs: a W3C `traceparent` in a comment of its text, as sqlcommenter
// writes it (`/*traceparent='00-..-..-01'*/`). What stands in a string or in a name is none. Pure; it never
// throws, and takes nothing that is not exactly one.
import {
  CLASS,
  DASH,
  DOLLAR,
  IDENTIFIER,
  SLASH,
  STANDARD,
  STRING,
  UTF8,
  WORD,
  skipComment,
  skipOther,
  skipPrefixed,
  wordEnd,
} from './lexer.ts'

/** The span that a statement is a part of. */
export interface TraceParent {
  /** 32 and 16 hexadecimal digits. */
  readonly traceId: string
  readonly spanId: string
  /** Its trace is recorded. */
  readonly isSampled: boolean
}

const MARK = Buffer.from('traceparent=')
const VALUE_LENGTH = 55
/** `/*traceparent='..'` and the end of the comment. */
const LEAST = 2 + MARK.length + 2 + VALUE_LENGTH + 2
/** So much of a text is looked through, from its beginning. */
const TEXT_MAX = 256 * 1024
/** Longest value that may be one, with percent signs and all. */
const VALUE_MAX = 200
const FORM = /^([0-9a-f]{2})-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})(-.*)?$/
const READING = STANDARD | UTF8
const QUOTE = 0x27

/** What `text[start..end)` says of its trace; null: nothing. */
export function traceParentIn(text: Buffer, start: number, end: number): TraceParent | null {
  if (end - start < LEAST) return null
  const stop = Math.min(end, start + TEXT_MAX)
  const part = text.subarray(start, stop)
  const first = part.indexOf(MARK)
  return first < 0 ? null : inComments(part, first)
}

/** @param first where the mark stands for the first time, wherever that is */
function inComments(text: Buffer, first: number): TraceParent | null {
  for (let at = 0; at < text.length; ) {
    const kind = CLASS[text[at]]
    let next = at + 1
    if (kind === DASH || kind === SLASH) {
      next = skipComment(text, at, text.length)
      if (next > at + 1 && next > first) {
        const found = inComment(text.subarray(at, next))
        if (found !== null) return found
      }
    } else if (kind === WORD) {
      next = wordEnd(text, next, text.length, READING)
      // Backslashes escape in E'..'.
      if (next === at + 1) next = skipPrefixed(text, at, text.length, READING)
    } else if (kind === STRING || kind === IDENTIFIER || kind === DOLLAR)
      next = skipOther(text, at, text.length, READING)
    // It is not closed, or cannot be read.
    if (next < 0) return null
    at = next
  }
  return null
}

function inComment(comment: Buffer): TraceParent | null {
  for (let at = comment.indexOf(MARK); at >= 0; at = comment.indexOf(MARK, at + 1)) {
    const from = at + MARK.length
    // The end of a longer name is another name.
    if (!isEdge(comment[at - 1]) || comment[from] !== QUOTE) continue
    const to = comment.indexOf(QUOTE, from + 1)
    if (to < 0 || to - from > VALUE_MAX) continue
    const found = parseTraceParent(decoded(comment.toString('latin1', from + 1, to)))
    if (found !== null) return found
  }
  return null
}

/** In front of a key stands the beginning of the comment, a comma or white space. */
function isEdge(byte: number): boolean {
  return byte <= 0x20 || byte === 0x2c || byte === 0x2a || byte === 0x2d
}

function decoded(value: string): string {
  if (!value.includes('%')) return value
  try {
    return decodeURIComponent(value)
  } catch {
    return ''
  }
}

/** The value of a `traceparent`; null: it is none that may be believed. */
export function parseTraceParent(value: string): TraceParent | null {
  if (value.length > VALUE_MAX) return null
  const [, version, traceId, spanId, flags, more] = FORM.exec(value) ?? []
  if (version === undefined || traceId === undefined || spanId === undefined || flags === undefined)
    return null
  // A version to come may say more behind the flags.
  if (version === 'ff' || (version === '00' && more !== undefined)) return null
  if (/^0+$/.test(traceId) || /^0+$/.test(spanId)) return null
  return { traceId, spanId, isSampled: (Number.parseInt(flags, 16) & 1) === 1 }
}
