// What the first process and its workers say to each other. Types only. Everything crosses as Node's
// structured clone, so maps and buffers stay what they are.
import type { Config } from '../config/types.ts'
import type { Door } from '../net/handed.ts'

/** What an operator has paused or disabled; a new worker begins with it. */
export interface GateMarks {
  readonly isAllPaused: boolean
  readonly isSuspended: boolean
  readonly paused: readonly string[]
  readonly disabled: readonly string[]
}

/** With what a worker begins. */
export interface Start {
  readonly config: Config
  readonly number: number
  readonly count: number
  readonly doors: readonly Door[]
  readonly gates: GateMarks
}

/** A command of the console, for all. */
export interface Order {
  /** As the first process knows it. */
  readonly id: number
  readonly command: string
  readonly argument: string
}

/** A client that is counted. */
export interface Guest {
  readonly address?: string
  readonly database?: string
  readonly user?: string
}

export interface CancelRequest {
  readonly pid: number
  readonly key: Uint8Array
}
