// Owns the words that matter to a pooler: what each may mean where it stands, as bits of `Fact`, and the part
// that some of them play in finding statements. It only lists; judging is the grammar's (verdict.ts).

import { WordTable } from './words.ts'
import {
  ADVISORY_LOCKS,
  CHANNEL_FUNCTIONS,
  EFFECTS,
  PEEKS,
  SEQUENCE_FUNCTIONS,
  STATE_FUNCTIONS,
  TEXT_RUNNERS,
} from './builtins.ts'

/** What `scanFacts` says about a text; a bit set. The first seven are exact, the others "may". */
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
  /** SET or RESET as a first word, set_config, pg_settings. */
  Settings: 1 << 7,
  /** DISCARD as a first word. */
  Discards: 1 << 8,
  /** EXECUTE anywhere (EXPLAIN, CREATE TABLE AS), DEALLOCATE as a first word. */
  Executes: 1 << 9,
  /** UNLISTEN or NOTIFY as a first word, or a call of pg_notify. */
  Channels: 1 << 10,
  /** TEMP, TEMPORARY, pg_temp. */
  Temp: 1 << 11,
  /** A function of session-level advisory locks. */
  Locks: 1 << 12,
  /** HOLD. */
  Holds: 1 << 13,
  /** LOAD as a first word, setseed, functions of extensions that keep state in the session. */
  Backend: 1 << 14,
  /** nextval, setval, currval, lastval. */
  Sequences: 1 << 15,
  /** DO or CALL as a first word, or a function that runs SQL text: what runs cannot be seen here. */
  Runs: 1 << 16,
  /** CREATE, IMPORT, SELECT .. INTO: what they make is temporary if the search path begins with pg_temp. */
  Creates: 1 << 17,
  /** A built-in function with an effect that "read only" does not stop, but no session state. */
  Effects: 1 << 18,
  /** Views and functions that show what other clients left on the server: pg_prepared_statements, .. */
  Peeks: 1 << 19,
  /** SHOW as a first word, current_setting, pg_settings. */
  Shows: 1 << 20,
  /** COPY as a first word. */
  Copies: 1 << 21,
  /** EXPLAIN as a first word. */
  Explains: 1 << 22,
  /** Some statement's first word is none of SELECT, VALUES, TABLE, WITH. */
  Acts: 1 << 23,
  /** A name that cannot be read here: U&"..". */
  Odd: 1 << 24,
  /** A word of the database's own table (`Reading.marked`). */
  Marked: 1 << 25,
  /** What shows the prepared statements of a server. */
  Names: 1 << 26,
} as const

/** Facts that only the grammar can turn into a verdict about the state of a session. */
export const FOR_GRAMMAR =
  Fact.Prepares |
  Fact.Listens |
  Fact.Settings |
  Fact.Discards |
  Fact.Executes |
  Fact.Channels |
  Fact.Temp |
  Fact.Locks |
  Fact.Holds |
  Fact.Backend |
  Fact.Sequences |
  Fact.Runs |
  Fact.Odd |
  Fact.Marked

/** Parts that tokens play, as numbers. */
export const Token = {
  Other: 0,
  Open: 1,
  Begin: 2,
  Start: 3,
  Rollback: 4,
  /** ABORT, COMMIT; END but for the body of a function. */
  Commit: 5,
  End: 6,
  Prepare: 7,
  Listen: 8,
  Create: 9,
  Transaction: 10,
  Work: 11,
  To: 12,
  Or: 13,
  Replace: 14,
  Rule: 15,
  /** and PROCEDURE */
  Function: 16,
  Atomic: 17,
  As: 18,
  Read: 19,
  /** and MERGE */
  Insert: 20,
  Into: 21,
  Set: 22,
  Discard: 23,
  Deallocate: 24,
  Channel: 25,
  Load: 26,
  Run: 27,
  Show: 28,
  Copy: 29,
  Explain: 30,
  Import: 31,
} as const

/** The bits of a word that are its token. */
export const TOKEN_MASK = 31
const TOKEN_BITS = 5

const TOKENS: readonly (readonly [words: string, token: number])[] = [
  ['begin', Token.Begin],
  ['start', Token.Start],
  ['rollback', Token.Rollback],
  ['abort commit', Token.Commit],
  ['end', Token.End],
  ['prepare', Token.Prepare],
  ['listen', Token.Listen],
  ['create', Token.Create],
  ['transaction', Token.Transaction],
  ['work', Token.Work],
  ['to', Token.To],
  ['or', Token.Or],
  ['replace', Token.Replace],
  ['rule', Token.Rule],
  ['function procedure', Token.Function],
  ['atomic', Token.Atomic],
  ['as', Token.As],
  ['select values table with', Token.Read],
  ['insert merge', Token.Insert],
  ['into', Token.Into],
  ['set reset', Token.Set],
  ['discard', Token.Discard],
  ['deallocate', Token.Deallocate],
  ['unlisten notify', Token.Channel],
  ['load', Token.Load],
  ['do call', Token.Run],
  ['show', Token.Show],
  ['copy', Token.Copy],
  ['explain', Token.Explain],
  ['import', Token.Import],
]

/** Words that count wherever they stand. */
const ANYWHERE: readonly (readonly [words: Iterable<string>, fact: number])[] = [
  [['set_config'], Fact.Settings],
  [['execute'], Fact.Executes],
  [CHANNEL_FUNCTIONS, Fact.Channels],
  [['temp', 'temporary'], Fact.Temp],
  [ADVISORY_LOCKS, Fact.Locks],
  [['hold'], Fact.Holds],
  [STATE_FUNCTIONS, Fact.Backend],
  [SEQUENCE_FUNCTIONS, Fact.Sequences],
  [TEXT_RUNNERS, Fact.Runs],
  [EFFECTS, Fact.Effects],
  [PEEKS, Fact.Peeks],
  [['pg_prepared_statements', 'pg_prepared_statement'], Fact.Names],
  [['current_setting', 'pg_show_all_settings'], Fact.Shows],
  // An UPDATE of it is a call of set_config.
  [['pg_settings'], Fact.Shows | Fact.Settings],
]

/** The first seven facts are about structure: no word by itself says them, so their bits are free. */
function pack(fact: number): number {
  return (fact >>> 7) << TOKEN_BITS
}

/** Facts of a word that was found. */
export function factsOf(word: number): number {
  return (word >>> TOKEN_BITS) << 7
}

/** All words, each with its token and its facts. */
export const VOCABULARY = new WordTable([
  ...TOKENS.flatMap(([words, token]) => words.split(' ').map((word) => [word, token] as const)),
  ...ANYWHERE.flatMap(([words, fact]) => [...words].map((word) => [word, pack(fact)] as const)),
])
