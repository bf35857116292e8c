// What the console is given, and what a command is. Types, and the one error that commands throw.
import type { Config } from '../../config/types.ts'
import type { CancelKeys } from '../../frontend/cancel-keys.ts'
import type { Client } from '../../frontend/client.ts'
import type { Visitor } from '../../frontend/types.ts'
import type { Counters } from '../../observe/counters.ts'
import type { LogTail } from '../../observe/log-tail.ts'
import type { Troubles } from '../../observe/troubles.ts'
import type { Limits } from '../../pool/limits.ts'
import type { Refusal } from '../../pool/types.ts'
import type { Router } from '../../routing/router.ts'
import type { Column, Value } from '../../wire/rows.ts'

/** Admin: everything. Stats: looking only. */
export type Role = 'admin' | 'stats'

/** How the process is to end. */
export type ShutdownMode = 'now' | 'wait for servers' | 'wait for clients'

/** The clients of the process, as the console needs them. */
export interface ConsoleHouse {
  readonly clients: ReadonlySet<Client>
  /** Connections that have not logged in. */
  readonly visitors: { readonly size: number }
  readonly cancelKeys: CancelKeys
  readonly isDraining: boolean
  readonly isSuspended: boolean
  suspend(isSuspended: boolean): void
  onRefused(visitor: Visitor, refusal: Refusal): void
}

/** The process, as the console sees it; the composition root gives it. */
export interface ConsoleSource {
  readonly version: string
  readonly config: Config
  readonly house: ConsoleHouse
  readonly router: Router
  /** Coarse time in milliseconds. */
  readonly time: { readonly now: number }
  /** Counters by database. */
  readonly counters: { entries(): Iterable<[database: string, counters: Counters]> }
  /** Limits that pools share. */
  readonly limits: Pick<Limits, 'bindingOf'>
  /** What went wrong of late. */
  readonly troubles: Troubles
  /** Port for clients. */
  readonly port: number
  /** Reads the configuration again. @throws with the reason in words; then nothing has changed */
  reload(): void | Promise<void>
  /** The same with options over it, until the next reload. @throws as `reload` */
  set(options: readonly (readonly [option: string, text: string | null])[]): void | Promise<void>
  /** The other processes that share the work; null: there are none. */
  readonly fellows: ConsoleFellows | null
  shutdown(mode: ShutdownMode): void
  /** The last lines of the log; null: nobody keeps them. */
  readonly tail: LogTail | null
  /** For the log: what an operator did. */
  note(fields: Readonly<Record<string, unknown>>, message: string, level?: 'debug' | 'info'): void
}

/** The processes that share the work, as the console of one of them sees them. */
export interface ConsoleFellows {
  /** The rows of this command in each of them, this one first. */
  rows(command: string): Promise<readonly Value[][][]>
  /** Runs it in all of them. `done` rejects with a ConsoleError. */
  act(command: string, argument: string): { readonly done: Promise<void>; abandon(): void }
}

/** Who gave a command, and what the command may do with them. */
export interface Operator {
  readonly source: ConsoleSource
  /** Those who are in the console now. */
  readonly sessions: readonly ConsoleClient[]
  readonly averages: AveragesView
  /** Resolves when `isOver` says so. @throws ConsoleError when the client cancels, or has gone. */
  wait(isOver: () => boolean): Promise<void>
  setApplicationName(name: string): void
}

/** A client of the console, as SHOW CLIENTS shows it. */
export interface ConsoleClient {
  readonly visitor: Visitor
  readonly peer: { readonly address: string; readonly port: number; readonly encrypted: boolean }
  readonly applicationName: string
  readonly connectedAt: number
  readonly requestedAt: number
  readonly preparedStatements: number
  /** Bytes that wait for it. */
  readonly unsent: number
  end(refusal: Refusal): void
}

/** The growth of a database's counters in the last whole period, which was so long. */
export interface AveragesView {
  readonly seconds: number
  growthOf(counters: Counters): ReadonlyMap<string, number>
}

/** What a command takes behind its name. */
export type Takes = 'nothing' | 'filters' | 'database' | 'database?' | 'id' | 'mode?' | 'setting' | 'anything'

/** Only rows that have this value in this column, by its number, are wanted. */
export interface Filter {
  readonly column: number
  readonly value: string
}

/** Stands for no value in the argument of SET: what the configuration says. */
export const DEFAULT = '\0default'

/** One row of the table of commands. */
export interface Command {
  /** In capitals: `SHOW POOLS`, `RELOAD`. */
  readonly name: string
  readonly role: Role
  readonly takes: Takes
  readonly help: string
  /** CommandComplete; the first word of the name where it is absent. */
  readonly tag?: string
  /** Of its result; absent: it gives none. */
  readonly columns?: readonly Column[]
  rows?(operator: Operator): Iterable<readonly Value[]>
  /** What it does, where it gives no rows. */
  act?(operator: Operator, argument: string): void | Promise<void>
  /** It begins or ends a transaction block, for drivers that insist on one. */
  readonly block?: 'begin' | 'end'
}

/** A command with its argument ('' for none); `command` null: an empty statement. */
export interface Statement {
  readonly command: Command | null
  readonly argument: string
  readonly filters?: readonly Filter[]
}

/** What a command answers instead of a result. */
export class ConsoleError extends Error {
  readonly code: string
  readonly hint: string

  constructor(code: string, message: string, hint = '') {
    super(message)
    this.code = code
    this.hint = hint
  }
}
