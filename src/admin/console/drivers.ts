// What drivers and pools say to every Postgres without being asked: transaction blocks, settings of the
// client, pings. None of it has a meaning in the console; it is answered where a driver could not go on
// otherwise. Nothing here changes pgmux.
import type { Token } from './lexer.ts'
import type { Command, Operator, Statement } from './types.ts'

/** Settings of a client, which have no effect here. */
const CLIENT_SETTINGS = new Set([
  'application_name',
  'bytea_output',
  'client_encoding',
  'client_min_messages',
  'datestyle',
  'default_transaction_isolation',
  'default_transaction_read_only',
  'extra_float_digits',
  'idle_in_transaction_session_timeout',
  'intervalstyle',
  'lock_timeout',
  'names',
  'search_path',
  'session',
  'standard_conforming_strings',
  'statement_timeout',
  'time',
  'timezone',
  'transaction',
])

/** What the login told, for drivers that ask again. */
export const TOLD: readonly (readonly [name: string, value: string])[] = [
  ['client_encoding', 'UTF8'],
  ['server_encoding', 'UTF8'],
  ['DateStyle', 'ISO, MDY'],
  ['IntervalStyle', 'postgres'],
  ['TimeZone', 'GMT'],
  ['standard_conforming_strings', 'on'],
  ['integer_datetimes', 'on'],
  ['is_superuser', 'off'],
  ['default_transaction_read_only', 'off'],
  ['in_hot_standby', 'off'],
]

const CANNED: ReadonlyMap<string, string> = new Map([
  ...TOLD.map(([name, value]) => [name.toUpperCase(), value] as const),
  ['DEFAULT_TRANSACTION_ISOLATION', 'read committed'],
  ['TRANSACTION_ISOLATION', 'read committed'],
])

function accepted(name: string, more: Partial<Command> = {}): Command {
  return { name, role: 'stats', takes: 'anything', help: '', act: () => {}, ...more }
}

/** What drivers send, or null. `words` are the words of it in capitals, '' for what is none. */
export function driverStatement(tokens: readonly Token[], words: readonly string[]): Statement | null {
  const command =
    blockOf(words) ?? setOf(tokens) ?? resetOf(words) ?? showOf(words) ?? selectOf(tokens, words)
  return command === null ? null : { command, argument: '' }
}

function blockOf(words: readonly string[]): Command | null {
  const [first, second] = words
  if (first === 'BEGIN') return accepted('BEGIN', { block: 'begin' })
  if (first === 'START' && second === 'TRANSACTION') return accepted('BEGIN', { block: 'begin' })
  const isWhole = second === undefined || second === 'WORK' || second === 'TRANSACTION'
  if (!isWhole) return null
  if (first === 'COMMIT' || first === 'END') return accepted('COMMIT', { block: 'end' })
  if (first === 'ROLLBACK' || first === 'ABORT') return accepted('ROLLBACK', { block: 'end' })
  return null
}

function setOf(tokens: readonly Token[]): Command | null {
  if (tokens[0].text.toUpperCase() !== 'SET') return null
  const isScoped = /^(session|local)$/i.test(tokens[1]?.text ?? '') && tokens.length > 2
  const rest = tokens.slice(isScoped ? 2 : 1)
  const name = (rest[0]?.text ?? '').toLowerCase()
  // What is none of these is an option of ours, or nothing.
  if (!CLIENT_SETTINGS.has(name) && !/^characteristics$/i.test(rest[0]?.text ?? '')) return null
  if (name !== 'application_name') return accepted('SET')
  const value = rest.at(-1)?.text ?? ''
  return accepted('SET', { act: (operator: Operator) => operator.setApplicationName(value) })
}

/** What pools say when a connection goes back. There is nothing to reset. */
function resetOf(words: readonly string[]): Command | null {
  const [first, second] = words
  if ((first === 'RESET' || first === 'DISCARD') && words.length > 1)
    return accepted(first, { tag: all(words) })
  if (first === 'CLOSE' && second === 'ALL') return accepted('CLOSE ALL', { tag: 'CLOSE CURSOR ALL' })
  if (first === 'UNLISTEN') return accepted('UNLISTEN')
  return null
}

function all(words: readonly string[]): string {
  return words[0] === 'DISCARD' && words[1] === 'ALL' ? 'DISCARD ALL' : words[0]
}

function showOf(words: readonly string[]): Command | null {
  if (words[0] !== 'SHOW' || words.length !== 2) return null
  const value = CANNED.get(words[1])
  if (value === undefined) return null
  const columns = [{ name: words[1].toLowerCase(), type: 'text' }] as const
  return accepted('SHOW', { columns, rows: () => [[value]] })
}

function selectOf(tokens: readonly Token[], words: readonly string[]): Command | null {
  if (words[0] !== 'SELECT') return null
  // A ping.
  if (tokens.length === 2 && /^\d{1,9}$/.test(words[1])) {
    const columns = [{ name: '?column?', type: 'int4' }] as const
    return accepted('SELECT', { tag: 'SELECT 1', columns, rows: () => [[Number(words[1])]] })
  }
  // postgres.js asks which array types there are. There are none.
  if (words[1] === 'B.OID' && words[3] === 'B.TYPARRAY' && words.includes('PG_CATALOG.PG_TYPE')) {
    const columns = [
      { name: 'oid', type: 'int8' },
      { name: 'typarray', type: 'int8' },
    ] as const
    return accepted('SELECT', { tag: 'SELECT 0', columns, rows: () => [] })
  }
  return null
}
