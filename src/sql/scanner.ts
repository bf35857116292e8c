// Owns the first look at SQL text: where statements end, which words they begin with and which words in them
// could matter, from the bytes alone (lexer.ts, vocabulary.ts), without a grammar. It never allocates, never
// throws, reads each byte a fixed number of times, and never guesses: what it cannot follow is Unclear.

import {
  ANY,
  CLASS,
  CLOSE,
  DASH,
  IDENTIFIER,
  LOWER_CASE,
  OPEN,
  OTHER,
  SAFE,
  SEMICOLON,
  SLASH,
  SPACE,
  STANDARD,
  WORD,
  skipComment,
  skipOther,
  skipPrefixed,
  wordEnd,
} from './lexer.ts'
import type { Routines } from './catalogue.ts'
import { Fact, TOKEN_MASK, Token, VOCABULARY, factsOf } from './vocabulary.ts'
import type { WordTable } from './words.ts'

export { Fact } from './vocabulary.ts'

/** How a text is to be read: depends on the settings of its client and on its database. */
export interface Reading {
  /** STANDARD, and one of the encodings, of lexer.ts. */
  readonly flags: number
  /** Names that matter in this database (`Fact.Marked`). */
  readonly marked: WordTable | null
  /** Whose names these are; not asked by the scanner. */
  readonly routines?: Routines
}

/** standard_conforming_strings on, an encoding that is not known, no names of a database. */
export const PLAIN: Reading = { flags: STANDARD | ANY, marked: null }

// Where in a statement we are. Up to Body nothing more is to be learned from how it begins.
const Phase = {
  Done: 0,
  /** CREATE RULE: semicolons inside one pair of parentheses are its own. */
  Rule: 1,
  /** In a statement of a BEGIN ATOMIC body. */
  Body: 2,
  /** Before the first token. */
  Start: 3,
  Rollback: 4,
  RollbackWork: 5,
  Prepare: 6,
  PrepareTransaction: 7,
  Create: 8,
  CreateOr: 9,
  CreateOrReplace: 10,
  /** CREATE FUNCTION: waiting for BEGIN ATOMIC. */
  Function: 11,
  FunctionBegin: 12,
  /** In a BEGIN ATOMIC body, before the first token of a statement. */
  BodyStart: 13,
} as const
const PHASE_BITS = 4
const PHASE_MASK = 15

/** What the first token of a statement says: the next phase in the low bits, facts above them. */
const FIRST = new Int32Array(TOKEN_MASK + 1)
/** 1: as the first word of a statement in the body of a function it is an error, or we lost our way. */
const NOT_IN_BODY = new Uint8Array(TOKEN_MASK + 1)

const FIRSTS: readonly (readonly [token: number, fact: number, phase?: number])[] = [
  [Token.Begin, Fact.Begins],
  [Token.Start, Fact.Begins],
  [Token.Commit, Fact.Ends],
  [Token.End, Fact.Ends],
  [Token.Listen, Fact.Listens],
  [Token.Rollback, 0, Phase.Rollback],
  [Token.Prepare, 0, Phase.Prepare],
  [Token.Create, 0, Phase.Create],
  [Token.Set, Fact.Settings],
  [Token.Discard, Fact.Discards],
  [Token.Deallocate, Fact.Executes],
  [Token.Channel, Fact.Channels],
  [Token.Load, Fact.Backend],
  [Token.Run, Fact.Runs],
  [Token.Show, Fact.Shows],
  [Token.Copy, Fact.Copies],
  [Token.Explain, Fact.Explains],
  [Token.Import, Fact.Creates],
]

FIRST.fill(say(Fact.Acts))
FIRST[Token.Read] = Phase.Done
FIRST[Token.Open] = Phase.Done
for (const [token, fact, phase = Phase.Done] of FIRSTS) {
  FIRST[token] = say(fact | Fact.Acts) | phase
  NOT_IN_BODY[token] = token <= Token.Create ? 1 : 0
}

/** Where `scan` stopped: behind the first semicolon between statements, or at the end. */
let stoppedAt = 0

/**
 * Facts about `text[start..end)`, a bit set of `Fact`. Linear in the length.
 *
 * The text is as the client sent it, without the terminating zero byte. Any client_encoding will do: quotes
 * are quotes in all that Postgres takes, and where a char of several bytes may end in a backslash (SJIS,
 * BIG5, GBK, ...), that would matter and `reading` does not tell the encoding, the answer is Unclear.
 */
export function scanFacts(text: Buffer, start: number, end: number, reading: Reading = PLAIN): number {
  let facts = 0
  let statements = 0
  let at = start
  while (at < end) {
    const found = scan(text, at, end, reading)
    facts |= found & ~Fact.Empty
    if ((found & Fact.Empty) === 0) statements++
    at = stoppedAt
  }
  if (statements === 0 && facts === 0) return Fact.Empty
  return statements > 1 ? facts | Fact.Several : facts
}

/**
 * The end of the first statement of `text[start..end)`: the offset behind its semicolon, or `end`. Statements
 * may be empty. -1 where the text cannot be followed.
 */
export function statementEnd(text: Buffer, start: number, end: number, reading: Reading = PLAIN): number {
  return (scan(text, start, end, reading) & Fact.Unclear) !== 0 ? -1 : stoppedAt
}

/** Facts of one statement; Empty if there is none. Leaves its end in `stoppedAt`. */
function scan(text: Buffer, start: number, end: number, { flags, marked }: Reading): number {
  let facts = 0
  let phase: number = Phase.Start
  let depth = 0
  let before: number = Token.Other
  let next = start
  stoppedAt = end
  for (let at = start; at < end; at = next) {
    let token: number = Token.Other
    const kind = CLASS[text[at]]
    next = at + 1
    if (kind === SPACE) continue
    if (kind === WORD) {
      next = wordEnd(text, next, end, flags)
      if (next > 0) {
        const word = VOCABULARY.find(text, at, next)
        token = word & TOKEN_MASK
        facts |= factsOf(word) | named(text, at, next, marked)
        if (token === Token.Create || (token === Token.Into && before !== Token.Insert)) facts |= Fact.Creates
        if (next === at + 1) {
          facts |= oddity(text, at, end)
          next = skipPrefixed(text, at, end, flags)
        }
      }
    } else if (kind === SEMICOLON) {
      if (depth > 0) {
        // Nowhere else does the grammar take one there, so Postgres would refuse the whole text.
        if (phase !== Phase.Rule || depth > 1) facts |= Fact.Unclear
      } else if (phase === Phase.Body || phase === Phase.BodyStart) {
        phase = Phase.BodyStart
      } else {
        stoppedAt = next
        break
      }
      continue
    } else if (kind === DASH || kind === SLASH) {
      next = skipComment(text, at, end)
      if (next > at + 1) continue
    } else if (kind === OPEN) {
      token = Token.Open
    } else if (kind !== OTHER) {
      next = skipOther(text, at, end, flags)
      if (kind === IDENTIFIER && next > 0) facts |= quoted(text, at + 1, next - 1, marked)
    }
    if (next < 0) return facts | Fact.Unclear
    if (phase >= Phase.Start && depth === 0) {
      const step = advance(phase, token)
      phase = step & PHASE_MASK
      facts |= step >> PHASE_BITS
    }
    before = token
    if (kind === OPEN) depth++
    else if (kind === CLOSE && --depth < 0) {
      stoppedAt = end
      return facts | Fact.Unclear
    }
  }
  if (depth > 0 || phase === Phase.Body || phase === Phase.BodyStart) facts |= Fact.Unclear
  return phase === Phase.Start ? facts | Fact.Empty : facts | factsAtEnd(phase)
}

/** What a name says besides what the vocabulary knows. */
function named(text: Buffer, at: number, end: number, marked: WordTable | null): number {
  const facts = isTempSchema(text, at, end) ? Fact.Temp : 0
  return marked === null ? facts : facts | marked.find(text, at, end)
}

/** The same of a name in double quotes. */
function quoted(text: Buffer, at: number, end: number, marked: WordTable | null): number {
  return factsOf(VOCABULARY.find(text, at, end)) | named(text, at, end, marked)
}

/** pg_temp, pg_temp_3, pg_toast_temp_3. */
function isTempSchema(text: Buffer, at: number, end: number): boolean {
  if (end - at < 7 || text[at + 2] !== 0x5f || (text[at] | LOWER_CASE) !== 0x70) return false
  if ((text[at + 1] | LOWER_CASE) !== 0x67) return false
  const from = (text[at + 4] | LOWER_CASE) === 0x6f ? at + 9 : at + 3
  return end - from >= 4 && is(text, from, 'temp')
}

/** U&"..": the name in it may be anything. */
function oddity(text: Buffer, at: number, end: number): number {
  const isUnicode = at + 2 < end && (text[at] | LOWER_CASE) === 0x75 && text[at + 1] === 0x26
  return isUnicode && CLASS[text[at + 2]] === IDENTIFIER ? Fact.Odd : 0
}

/**
 * The first word of a text in lower case, behind white space, comments, semicolons and opening parentheses;
 * '' if it begins with something else. For labels and logs; makes a string.
 */
export function leadingWord(text: Buffer, start: number, end: number): string {
  let at = start
  while (at < end) {
    const kind = CLASS[text[at]]
    if (kind === WORD) return text.toString('latin1', at, wordEnd(text, at + 1, end, SAFE)).toLowerCase()
    if (kind === SPACE || kind === SEMICOLON || kind === OPEN) {
      at++
    } else if (kind === DASH || kind === SLASH) {
      const next = skipComment(text, at, end)
      if (next <= at + 1) return ''
      at = next
    } else {
      return ''
    }
  }
  return ''
}

/** The next phase in the low bits, new facts above them. */
function advance(phase: number, token: number): number {
  switch (phase) {
    case Phase.Start:
      return FIRST[token]
    case Phase.Rollback:
      if (token === Token.Work || token === Token.Transaction) return Phase.RollbackWork
      return token === Token.To ? Phase.Done : say(Fact.Ends)
    case Phase.RollbackWork:
      return token === Token.To ? Phase.Done : say(Fact.Ends)
    case Phase.Prepare:
      return token === Token.Transaction ? Phase.PrepareTransaction : say(Fact.Prepares)
    case Phase.PrepareTransaction:
      // TRANSACTION may be the name of a prepared statement: PREPARE transaction (int) AS ...
      return say(token === Token.As || token === Token.Open ? Fact.Prepares : Fact.Ends)
    case Phase.Create:
      return token === Token.Or ? Phase.CreateOr : created(token)
    case Phase.CreateOr:
      return token === Token.Replace ? Phase.CreateOrReplace : Phase.Done
    case Phase.CreateOrReplace:
      return created(token)
    case Phase.Function:
      return token === Token.Begin ? Phase.FunctionBegin : Phase.Function
    case Phase.FunctionBegin:
      if (token === Token.Atomic) return Phase.BodyStart
      return token === Token.Begin ? Phase.FunctionBegin : Phase.Function
    default:
      // The body of a function: queries only. END as a first word closes it; others that we know there are an
      // error in Postgres, or the body ended where we did not see it.
      if (token === Token.End) return Phase.Done
      return NOT_IN_BODY[token] === 0 ? Phase.Body : (Fact.Unclear << PHASE_BITS) | Phase.Body
  }
}

function created(token: number): number {
  return token === Token.Function ? Phase.Function : token === Token.Rule ? Phase.Rule : Phase.Done
}

function say(fact: number): number {
  return (fact << PHASE_BITS) | Phase.Done
}

/** What a statement that stops in this phase means. */
function factsAtEnd(phase: number): number {
  const isEnd = phase === Phase.Rollback || phase === Phase.RollbackWork || phase === Phase.PrepareTransaction
  return isEnd ? Fact.Ends : 0
}

/** Compares letters without case. */
function is(text: Buffer, at: number, word: string): boolean {
  for (let i = 0; i < word.length; i++) {
    if ((text[at + i] | LOWER_CASE) !== word.charCodeAt(i)) return false
  }
  return true
}
