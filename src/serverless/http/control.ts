// What a request says about transactions: the statements that frame a batch, what a statement of a batch
// may not do, how the server is left. Pure. Levels are chosen from a list, never copied into SQL.
import { Fact, leadingWord, scanFacts } from '../../sql/scanner.ts'
import type { Claims } from '../../auth/jwt.ts'
import type { Statement } from './body.ts'
import { badRequest, noCopy, noTransactionControl, type Problem } from './problem.ts'
import type { Control, Frame } from './wire.ts'

const LEVELS = new Map([
  ['ReadUncommitted', 'READ UNCOMMITTED'],
  ['ReadCommitted', 'READ COMMITTED'],
  ['RepeatableRead', 'REPEATABLE READ'],
  ['Serializable', 'SERIALIZABLE'],
])
const COMMIT: Control = { text: 'COMMIT', parameters: [] }
const CLAIMS =
  "SELECT pg_catalog.set_config('request.jwt.claims', $1, true), pg_catalog.set_config('role', $2, true)"
/** The usual beginnings, with which nothing of what is looked for here can begin. */
const USUAL = /^\s*(?:select|insert|update|delete|with|values)\b/i
const TRANSACTION_WORDS = new Set(['begin', 'start', 'commit', 'end', 'abort', 'rollback', 'prepare'])

/** What the headers of a batch ask for. */
export interface BatchOptions {
  /** As the header names it; '' : as the database has it. */
  readonly isolation: string
  readonly isReadOnly: boolean
  readonly isDeferrable: boolean
}

/** @throws RequestError for a level that does not exist */
export function batchOptions(header: (name: string) => string): BatchOptions {
  const isolation = header('neon-batch-isolation-level')
  if (isolation !== '' && !LEVELS.has(isolation)) {
    const hint = `It is one of ${[...LEVELS.keys()].join(', ')}.`
    throw badRequest('invalid isolation level', '22023', hint)
  }
  return {
    isolation,
    isReadOnly: header('neon-batch-read-only') === 'true',
    isDeferrable: header('neon-batch-deferrable') === 'true',
  }
}

/**
 * Around the statements of a batch.
 * @param isStatementMode there are no blocks: one batch is one transaction
 */
export function frameOf(options: BatchOptions, claims: Claims | null, isStatementMode: boolean): Frame {
  const before = claims === null ? [] : [claimed(claims)]
  const { isolation, isReadOnly, isDeferrable } = options
  const isPlain = isolation === '' && !isReadOnly && !isDeferrable
  if (isStatementMode && isPlain) return { before, after: [] }
  const modes = isolation === '' ? [] : [`ISOLATION LEVEL ${LEVELS.get(isolation)}`]
  if (isReadOnly) modes.push('READ ONLY')
  if (isDeferrable) modes.push('DEFERRABLE')
  const start = { text: `START TRANSACTION ${modes.join(', ')}`.trimEnd(), parameters: [] }
  return { before: [start, ...before], after: [COMMIT] }
}

/** In front of a single statement, in its transaction. */
export function singleFrameOf(claims: Claims): Frame {
  return { before: [claimed(claims)], after: [] }
}

function claimed({ json, role }: Claims): Control {
  return { text: CLAIMS, parameters: [json, role] }
}

/** What a text does that matters here. */
export function firstWord(text: string): string {
  if (USUAL.test(text)) return ''
  const bytes = Buffer.from(text, 'utf8')
  return leadingWord(bytes, 0, bytes.length)
}

/** A single statement that leaves a transaction open. */
export function beginsTransaction(word: string): boolean {
  return word === 'begin' || word === 'start'
}

/** Why these statements cannot run at all; null: they can be tried. */
export function refusedStatement(statements: readonly Statement[], isBatch: boolean): Problem | null {
  for (const [index, { text }] of statements.entries()) {
    const word = firstWord(text)
    if (word === 'copy') {
      const found = noCopy()
      return isBatch ? { ...found, body: { ...found.body, queryIndex: index } } : found
    }
    if (isBatch && TRANSACTION_WORDS.has(word) && controlsTransaction(text))
      return noTransactionControl(index)
  }
  return null
}

function controlsTransaction(text: string): boolean {
  const bytes = Buffer.from(text, 'utf8')
  return (scanFacts(bytes, 0, bytes.length) & (Fact.Begins | Fact.Ends | Fact.Unclear)) !== 0
}

/** A command tag that no statement of a batch may have: the transaction has ended, or was not ours. */
export function isForeignTag(tag: string, text: string): boolean {
  if (tag === 'ROLLBACK') return firstWord(text) !== 'rollback'
  return tag === 'COMMIT' || tag === 'PREPARE TRANSACTION' || tag === 'BEGIN' || tag === 'START TRANSACTION'
}
