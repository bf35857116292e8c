// The door to the console: which names a client asks for it by, and what it is given when it comes in. The
// console itself is in admin/; frontend/ only knows that there is one.
import type { Refusal } from '../pool/types.ts'
import type { SecurableStream } from '../wire/byte-stream.ts'
import type { Visitor } from './types.ts'

const NAMES: ReadonlySet<string> = new Set(['pgmux', 'pgbouncer'])

/** Is this the console, which is no database of Postgres? */
export function isConsole(database: string): boolean {
  return NAMES.has(database)
}

/** All names of what this one names: a rule for one of them must hold for the others. */
export function aliasesOf(database: string): readonly string[] {
  return isConsole(database) ? [...NAMES] : []
}

/** A client that has logged in and wants the console. */
export interface ConsoleVisit {
  readonly stream: SecurableStream
  readonly visitor: Visitor
  readonly parameters: ReadonlyMap<string, string>
  readonly keyLength: number
  /** It is in: its connection is the console's from now on. Called before it is told so. */
  onEntered(): void
}

/** Where such clients are taken. */
export interface ConsoleDoor {
  /** @returns why it may not come in; null: it is in. */
  enter(visit: ConsoleVisit): Refusal | null
}
