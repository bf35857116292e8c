// Owns: server messages as short comparable text, so that a direct run and a pooled run can be held
// against each other. Must never hide a difference that a client could see, except where `normalise` says so.

import type { BackendMessage, Column, MessageOf } from './messages.ts'
import { OVER_WEB } from './web-socket.ts'

const show = (value: Buffer | null) => (value === null ? 'NULL' : value.toString('utf8'))

const PLAIN: Record<string, (message: never) => string> = {
  R: (m: MessageOf<'R'>) => `R(${m.method})`,
  K: () => 'K',
  S: (m: MessageOf<'S'>) => `S(${m.parameter}=${m.value})`,
  Z: (m: MessageOf<'Z'>) => `Z(${m.status})`,
  v: (m: MessageOf<'v'>) => `v(${m.version & 0xffff}${m.options.map((option) => ` ${option}`).join('')})`,
  E: (m: MessageOf<'E'>) => `E(${m.code})`,
  N: (m: MessageOf<'N'>) => `N(${m.code})`,
  A: (m: MessageOf<'A'>) => `A(${m.channel} ${m.payload})`,
  T: () => 'T',
  C: (m: MessageOf<'C'>) => `C(${m.tag})`,
  t: (m: MessageOf<'t'>) => `t(${m.types.join()})`,
  G: (m: MessageOf<'G'>) => `G(${m.format}:${m.formats.join()})`,
  H: (m: MessageOf<'H'>) => `H(${m.format}:${m.formats.join()})`,
  W: (m: MessageOf<'W'>) => `W(${m.format}:${m.formats.join()})`,
  V: (m: MessageOf<'V'>) => `V(${show(m.value)})`,
}

function short(message: BackendMessage): string {
  const render = PLAIN[message.type] as ((message: BackendMessage) => string) | undefined
  return render?.(message) ?? message.type
}

/**
 * One line for a run of messages, such as `T D(2) C(SELECT 2) Z(I)`. Neighbouring DataRow or CopyData
 * messages are counted: `D(2)`, `d(3)`; other bare messages stand as their letter. Values are not in it.
 */
export function transcript(messages: readonly BackendMessage[]): string {
  const out: string[] = []
  for (let i = 0; i < messages.length; i++) {
    const message = messages[i] as BackendMessage
    if (message.type !== 'D' && message.type !== 'd') {
      out.push(short(message))
      continue
    }
    const start = i
    while (messages[i + 1]?.type === message.type) i++
    out.push(`${message.type}(${i - start + 1})`)
  }
  return out.join(' ')
}

/** Columns whose values name a process: they differ between two sessions that do the same. */
const PID_COLUMNS = /^(pid|pg_backend_pid)$/
const PID_IN_TEXT = /\b(process|PID) \d+/g

function columnText(columns: readonly Column[]): string {
  return columns.map((column) => `${column.name}:${column.type}:${column.modifier}:${column.format}`).join()
}

/** What is masked in values. */
interface Mask {
  columns: readonly Column[]
  pids: ReadonlySet<string>
}

function rowText(message: MessageOf<'D'>, { columns, pids }: Mask): string {
  const masked = message.values.map((value, i) => {
    const text = show(value)
    return PID_COLUMNS.test(columns[i]?.name ?? '') || pids.has(text) ? '#' : text
  })
  return `D[${masked.join('|')}]`
}

/** Fields that name a place in the server's source; they change with its version. */
const PLACES = new Set(['F', 'L', 'R'])

function reportText(message: MessageOf<'E' | 'N'>): string {
  const kept = Object.entries(message.fields).filter(([letter]) => !PLACES.has(letter))
  const text = kept.map(([letter, value]) => `${letter}=${value.replace(PID_IN_TEXT, '$1 #')}`)
  return `${message.type}{${text.join('; ')}}`
}

/**
 * All that a client can see, one message per item, values included. Masked: process numbers (columns named
 * `pid` or `pg_backend_pid`, "process 123" in error texts), cancel keys, source places in errors.
 * ParameterStatus messages that stand together are sorted, as Postgres versions send them in different
 * orders.
 * @param pids process numbers to mask in values of any column: results that were not described have no names
 */
export function normalise(messages: readonly BackendMessage[], pids: readonly number[] = []): string[] {
  const out: string[] = []
  const mask: Mask = { columns: [], pids: new Set(pids.map(String)) }
  let statuses = 0
  for (const message of messages) {
    if (isQuestion(message)) continue
    if (message.type === 'T') mask.columns = message.columns
    if (message.type === 'Z') mask.columns = []
    if (message.type === 'S') {
      statuses++
      out.push(short(message))
      continue
    }
    sortLast(out, statuses)
    statuses = 0
    out.push(full(message, mask))
  }
  sortLast(out, statuses)
  return out
}

/** Over a WebSocket the password is asked for as it is, whatever the method. */
function isQuestion(message: BackendMessage): boolean {
  return OVER_WEB && message.type === 'R' && message.method !== 0
}

function full(message: BackendMessage, mask: Mask): string {
  if (message.type === 'T') return `T(${columnText(message.columns)})`
  if (message.type === 'D') return rowText(message, mask)
  if (message.type === 'V' && mask.pids.has(show(message.value))) return 'V(#)'
  if (message.type === 'd') return `d[${message.data.toString('latin1')}]`
  if (message.type === 'E' || message.type === 'N') return reportText(message)
  return short(message)
}

function sortLast(out: string[], count: number): void {
  if (count > 1) out.push(...out.splice(out.length - count).sort())
}
