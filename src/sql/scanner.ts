// Owns the first look at SQL text: where statements end and which words they begin with, from the bytes
// alone (lexer.ts), without a grammar. It never allocates, never throws, reads each byte at most twice, and
// never guesses: what it cannot follow is Unclear.

import {
  CLASS,
  CLOSE,
  DASH,
  LOWER_CASE,
  OPEN,
  OTHER,
  SEMICOLON,
  SLASH,
  SPACE,
  WORD,
  skipComment,
  skipOther,
  skipPrefixed,
  wordEnd,
} from './lexer.ts'

/** What `scanFacts` says about a text; a bit set. */
export const Fact = {
  /** A statement's first word is BEGIN or START. */
  Begins: 1,
  /** A statement ends a transaction: ROLLBACK (not ROLLBACK TO), ABORT, COMMIT, END, PREPARE TRANSACTION. */
  Ends: 2,
  /** More than one statement. */
  Several: 4,
  /** No statement: white space, comments and semicolons only. */
  Empty: 8,
  /**
   * Not understood: something is not closed, or Postgres might read it otherwise. The other facts are then
   * only what was seen so far: take the text to be able to do anything.
   */
  Unclear: 16,
  /** A statement's first word is LISTEN. */
  Listens: 32,
  /** A statement is PREPARE name. */
  Prepares: 64,
} as const

// What a token is, as far as it matters.
const T_OTHER = 0
const T_OPEN = 1
const T_BEGIN = 2
const T_START = 3
const T_ROLLBACK = 4
const T_COMMIT = 5 // ABORT, COMMIT, END but for the body of a function
const T_END = 6
const T_PREPARE = 7
const T_LISTEN = 8
const T_CREATE = 9
const T_TRANSACTION = 10
const T_WORK = 11
const T_TO = 12
const T_OR = 13
const T_REPLACE = 14
const T_RULE = 15
const T_FUNCTION = 16 // and PROCEDURE
const T_ATOMIC = 17
const T_AS = 18

// Where in a statement we are. Up to P_BODY nothing more is to be learned from words.
const P_DONE = 0
const P_RULE = 1 // CREATE RULE: semicolons inside one pair of parentheses are its own
const P_BODY = 2 // in a statement of a BEGIN ATOMIC body
const P_START = 3 // before the first token
const P_ROLLBACK = 4
const P_ROLLBACK_WORK = 5
const P_PREPARE = 6
const P_PREPARE_TRANSACTION = 7
const P_CREATE = 8
const P_CREATE_OR = 9
const P_CREATE_OR_REPLACE = 10
const P_FUNCTION = 11 // CREATE FUNCTION: waiting for BEGIN ATOMIC
const P_FUNCTION_BEGIN = 12
const P_BODY_START = 13 // in a BEGIN ATOMIC body, before the first token of a statement
const PHASE_BITS = 4
const PHASE_MASK = 15

/**
 * Facts about `text[start..end)`, a bit set of `Fact`. Linear in the length.
 *
 * The text is as the client sent it, without the terminating zero byte. Any client_encoding will do: quotes
 * are quotes in all that Postgres takes, and where a char of several bytes may end in a backslash (SJIS,
 * BIG5, GBK, ...) and that would matter, the answer is Unclear.
 * @param standardConformingStrings false: backslashes escape in plain strings as well
 */
export function scanFacts(
  text: Buffer,
  start: number,
  end: number,
  standardConformingStrings = true,
): number {
  let facts = 0
  let phase = P_START
  let depth = 0
  let statements = 0
  let next = start
  for (let at = start; at < end; at = next) {
    let token = T_OTHER
    const kind = CLASS[text[at]]
    next = at + 1
    if (kind === SPACE) continue
    if (kind === WORD) {
      next = wordEnd(text, next, end)
      if (next === at + 1) next = skipPrefixed(text, at, end, standardConformingStrings)
      else if (phase >= P_START) token = keyword(text, at, next)
    } else if (kind === SEMICOLON) {
      if (depth > 0) {
        // Nowhere else does the grammar take one there, so Postgres would refuse the whole text.
        if (phase !== P_RULE || depth > 1) facts |= Fact.Unclear
      } else if (phase === P_BODY || phase === P_BODY_START) {
        phase = P_BODY_START
      } else {
        if (phase !== P_START) statements++
        facts |= factsAtEnd(phase)
        phase = P_START
      }
      continue
    } else if (kind === DASH || kind === SLASH) {
      next = skipComment(text, at, end)
      if (next > at + 1) continue
    } else if (kind === OPEN) {
      token = T_OPEN
    } else if (kind !== OTHER) {
      next = skipOther(text, at, end, standardConformingStrings)
    }
    if (next < 0) return facts | Fact.Unclear
    if (phase >= P_START && depth === 0) {
      const step = advance(phase, token)
      phase = step & PHASE_MASK
      facts |= step >> PHASE_BITS
    }
    if (kind === OPEN) depth++
    else if (kind === CLOSE && --depth < 0) return facts | Fact.Unclear
  }
  if (phase !== P_START) statements++
  facts |= factsAtEnd(phase)
  if (depth > 0 || phase === P_BODY || phase === P_BODY_START) facts |= Fact.Unclear
  if (statements > 1) facts |= Fact.Several
  else if (statements === 0) facts |= Fact.Empty
  return facts
}

/**
 * The first word of a text in lower case, behind white space, comments, semicolons and opening parentheses;
 * '' if it begins with something else. For labels and logs; makes a string.
 */
export function leadingWord(text: Buffer, start: number, end: number): string {
  let at = start
  while (at < end) {
    const kind = CLASS[text[at]]
    if (kind === WORD) return text.toString('latin1', at, wordEnd(text, at, end)).toLowerCase()
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
    case P_START:
      return first(token)
    case P_ROLLBACK:
      if (token === T_WORK || token === T_TRANSACTION) return P_ROLLBACK_WORK
      return token === T_TO ? P_DONE : say(Fact.Ends)
    case P_ROLLBACK_WORK:
      return token === T_TO ? P_DONE : say(Fact.Ends)
    case P_PREPARE:
      return token === T_TRANSACTION ? P_PREPARE_TRANSACTION : say(Fact.Prepares)
    case P_PREPARE_TRANSACTION:
      // TRANSACTION may be the name of a prepared statement: PREPARE transaction (int) AS ...
      return say(token === T_AS || token === T_OPEN ? Fact.Prepares : Fact.Ends)
    case P_CREATE:
      return token === T_OR ? P_CREATE_OR : created(token)
    case P_CREATE_OR:
      return token === T_REPLACE ? P_CREATE_OR_REPLACE : P_DONE
    case P_CREATE_OR_REPLACE:
      return created(token)
    case P_FUNCTION:
      return token === T_BEGIN ? P_FUNCTION_BEGIN : P_FUNCTION
    case P_FUNCTION_BEGIN:
      if (token === T_ATOMIC) return P_BODY_START
      return token === T_BEGIN ? P_FUNCTION_BEGIN : P_FUNCTION
    default:
      // The body of a function: queries only. END as a first word closes it; any of the other words we know
      // there is an error in Postgres, or the body ended where we did not see it.
      if (token === T_END) return P_DONE
      return first(token) === P_DONE ? P_BODY : (Fact.Unclear << PHASE_BITS) | P_BODY
  }
}

function first(token: number): number {
  switch (token) {
    case T_BEGIN:
    case T_START:
      return say(Fact.Begins)
    case T_COMMIT:
    case T_END:
      return say(Fact.Ends)
    case T_LISTEN:
      return say(Fact.Listens)
    case T_ROLLBACK:
      return P_ROLLBACK
    case T_PREPARE:
      return P_PREPARE
    case T_CREATE:
      return P_CREATE
    default:
      return P_DONE
  }
}

function created(token: number): number {
  return token === T_FUNCTION ? P_FUNCTION : token === T_RULE ? P_RULE : P_DONE
}

function say(fact: number): number {
  return (fact << PHASE_BITS) | P_DONE
}

/** What a statement that stops in this phase means. */
function factsAtEnd(phase: number): number {
  return phase === P_ROLLBACK || phase === P_ROLLBACK_WORK || phase === P_PREPARE_TRANSACTION ? Fact.Ends : 0
}

function keyword(text: Buffer, at: number, end: number): number {
  switch (end - at) {
    case 2:
      return is(text, at, 'to') ? T_TO : is(text, at, 'or') ? T_OR : is(text, at, 'as') ? T_AS : T_OTHER
    case 3:
      return is(text, at, 'end') ? T_END : T_OTHER
    case 4:
      return is(text, at, 'rule') ? T_RULE : is(text, at, 'work') ? T_WORK : T_OTHER
    case 5:
      if (is(text, at, 'begin')) return T_BEGIN
      return is(text, at, 'start') ? T_START : is(text, at, 'abort') ? T_COMMIT : T_OTHER
    case 6:
      if (is(text, at, 'commit')) return T_COMMIT
      if (is(text, at, 'listen')) return T_LISTEN
      return is(text, at, 'create') ? T_CREATE : is(text, at, 'atomic') ? T_ATOMIC : T_OTHER
    case 7:
      return is(text, at, 'prepare') ? T_PREPARE : is(text, at, 'replace') ? T_REPLACE : T_OTHER
    case 8:
      return is(text, at, 'rollback') ? T_ROLLBACK : is(text, at, 'function') ? T_FUNCTION : T_OTHER
    case 9:
      return is(text, at, 'procedure') ? T_FUNCTION : T_OTHER
    case 11:
      return is(text, at, 'transaction') ? T_TRANSACTION : T_OTHER
    default:
      return T_OTHER
  }
}

/** Compares letters without case; only ASCII folds, as for Postgres' keywords. */
function is(text: Buffer, at: number, word: string): boolean {
  for (let i = 0; i < word.length; i++) {
    if ((text[at + i] | LOWER_CASE) !== word.charCodeAt(i)) return false
  }
  return true
}
