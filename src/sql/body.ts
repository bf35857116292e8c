// Owns the look into the body of a function in SQL or PL/pgSQL: which words that matter it has, and which
// names. It reads both languages as one: first words stand behind a semicolon or one of PL/pgSQL's words
// that open a list of statements. It never runs while a client waits: it makes strings.

import {
  CLASS,
  DASH,
  IDENTIFIER,
  LOWER_CASE,
  OTHER,
  SEMICOLON,
  SLASH,
  SPACE,
  STANDARD,
  skipComment,
  skipOther,
  skipPrefixed,
  UTF8,
  WORD,
  wordEnd,
} from './lexer.ts'
import { Fact, factsOf, TOKEN_MASK, Token, VOCABULARY } from './vocabulary.ts'
import { nameKey } from './words.ts'

/** Behind them a statement begins. */
const OPENERS: ReadonlySet<string> = new Set(['begin', 'then', 'else', 'loop', 'atomic', 'declare'])

/** Behind them TEMP is no name. */
const BEFORE_TEMP: ReadonlySet<string> = new Set(['create', 'replace', 'local', 'global', 'into'])

/** What the first word of a statement in a body says. */
const FIRST_FACTS = new Map<number, number>([
  [Token.Set, Fact.Settings],
  [Token.Discard, Fact.Discards],
  [Token.Deallocate, Fact.Executes],
  [Token.Prepare, Fact.Prepares],
  [Token.Listen, Fact.Listens],
  [Token.Load, Fact.Backend],
  [Token.Run, Fact.Runs],
  [Token.Create, Fact.Creates],
])
const FLAGS = STANDARD | UTF8

export interface BodyFacts {
  /** `Fact` bits. */
  readonly facts: number
  /** All names and words, as keys (`nameKey`). */
  readonly words: ReadonlySet<string>
}

export function readBody(source: string): BodyFacts {
  const text = Buffer.from(source)
  const end = text.length
  const words = new Set<string>()
  let facts = 0
  let isFirst = true
  let before = ''
  let next = 0
  for (let at = 0; at < end; at = next) {
    const kind = CLASS[text[at]]
    next = at + 1
    if (kind === SPACE) continue
    if (kind === WORD) {
      next = wordEnd(text, next, end, FLAGS)
      const word = nameKey(text.toString('utf8', at, next))
      words.add(word)
      const found = VOCABULARY.find(text, at, next)
      const said = factsOf(found)
      facts |= (said & Fact.Temp) === 0 || BEFORE_TEMP.has(before) ? said : said & ~Fact.Temp
      if (word.startsWith('pg_temp')) facts |= Fact.Temp
      before = word
      // What CALL calls is a name like any other; what DO runs is in a string.
      if (isFirst && word !== 'call') facts |= FIRST_FACTS.get(found & TOKEN_MASK) ?? 0
      isFirst = OPENERS.has(word)
      if (next === at + 1) {
        if (isUnicodeName(text, at)) facts |= Fact.Unclear
        next = skipPrefixed(text, at, end, FLAGS)
      }
    } else if (kind === DASH || kind === SLASH) {
      next = skipComment(text, at, end)
      if (next === at + 1) isFirst = false
    } else if (kind === OTHER) {
      // The end of a label: <<name>>.
      isFirst = text[at] === 0x3e && at > 0 && text[at - 1] === 0x3e
    } else {
      next = skipOther(text, at, end, FLAGS)
      isFirst = kind === SEMICOLON
      if (kind === IDENTIFIER && next > 0) {
        words.add(nameKey(text.toString('utf8', at + 1, next - 1).replaceAll('""', '"')))
        facts |= factsOf(VOCABULARY.find(text, at + 1, next - 1))
      }
    }
    if (next < 0) return { facts: facts | Fact.Unclear, words }
  }
  return { facts, words }
}

/** U&"..": the name in it may be anything. */
function isUnicodeName(text: Buffer, at: number): boolean {
  return (text[at] | LOWER_CASE) === 0x75 && text[at + 1] === 0x26 && CLASS[text[at + 2]] === IDENTIFIER
}
