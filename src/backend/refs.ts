// What the entries of a reply queue refer to: the knowledge that is needed when the answer comes. Data only.
import type { Definition, PendingName } from '../session/statements.ts'
import type { Unnamed } from '../session/virtual-session.ts'
import { Shape } from '../sql/shapes.ts'

/** A client's message that names a statement under a name of ours: errors get the client's name back. */
export class NameFix {
  readonly clientName: string
  readonly serverName: string

  constructor(clientName: string, serverName: string) {
    this.clientName = clientName
    this.serverName = serverName
  }
}

/**
 * A message that fails: Postgres makes the error (and skips the batch), the client gets these words. Null:
 * its own, unless what is brought in front of it fails.
 */
export class Substitute {
  error: Buffer | null
  /** Of the statement that it stands for, if it is one. */
  shape: Shape | null = null

  constructor(error: Buffer | null) {
    this.error = error
  }
}

/** Which statement's answer an entry of the queue waits for; null: that is not known of it. */
export function shapeOfRef(ref: unknown): Shape | null {
  if (ref instanceof Shape) return ref
  return ref instanceof Substitute ? ref.shape : null
}

/** A Parse of a named statement. */
export class NamedParse {
  /** Sent behind an Execute of its batch: what that has set is told at the end of the batch only. */
  isBehind = false
  readonly change: PendingName
  /** Null for a statement that is not brought to other servers. */
  readonly definition: Definition

  constructor(change: PendingName, definition: Definition) {
    this.change = change
    this.definition = definition
  }
}

/** A Parse of the unnamed statement. */
export class UnnamedParse {
  readonly unnamed: Unnamed
  /** Of the client's unnamed statement, once this is done. */
  version = 0
  /** As of `NamedParse`. */
  isBehind = false

  constructor(unnamed: Unnamed) {
    this.unnamed = unnamed
  }
}

/** A message of ours that brings the client's unnamed statement to the server, or takes another's away. */
export class UnnamedFix {
  readonly version: number

  constructor(version: number) {
    this.version = version
  }
}

/** A Close of the unnamed statement. */
export const UNNAMED_CLOSE = { kind: 'unnamed close' } as const

/** A Close of a named statement. */
export class NamedClose {
  readonly change: PendingName

  constructor(change: PendingName) {
    this.change = change
  }
}

/** The last step of bringing a statement under the client's own name, in the middle of its batch. */
export class Brought {
  readonly onDone: () => void

  constructor(onDone: () => void) {
    this.onDone = onDone
  }
}

/** A step before it. */
export const BRINGING = { kind: 'bringing' } as const

/** All names on the server are taken away, so that it can show the client's own. */
export const HIDDEN = { kind: 'hidden' } as const
