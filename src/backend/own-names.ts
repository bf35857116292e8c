// What one server has under names of its client's own: what SQL prepared there, and what was brought there
// for SQL to find. It owns that table; whose names they are it does not know, and it writes no messages.
import type { Settings } from '../session/settings.ts'
import type { Definition } from '../session/statements.ts'

/** Something of that name, so that a DEALLOCATE finds it. */
export const STAND_IN = 'stand-in'

export interface There {
  /** What is there for certain; null: nobody knows what, or whether there is anything. */
  readonly definition: Definition | typeof STAND_IN | null
  /** Its text as Postgres shows it, one character a byte. */
  readonly source: string
}

export class OwnNames {
  readonly there = new Map<string, There>()
  /** Brought by the open batch. */
  readonly brought = new Set<string>()
  /**
   * Made or dropped by what was sent since Postgres was last asked: what they stand for only Postgres knows,
   * and messages that name them go to it as they are.
   */
  readonly live = new Set<string>()
  /** Those of them that were dropped: what stands there now is new. */
  readonly dropped = new Set<string>()
  /** The same, for every name. */
  isAllLive = false
  /** `Touch` bits of what was stored since then. */
  stored = 0
  /** Settings under which that was parsed. */
  under: Settings | null = null

  isLive(name: string): boolean {
    return this.isAllLive || this.live.has(name)
  }

  /** The names that may stand for something else than before; null: any of them. */
  get changed(): ReadonlySet<string> | null {
    return this.isAllLive || this.live.size === 0 ? null : this.live
  }

  /** Nothing is under way any more. */
  settle(): void {
    this.live.clear()
    this.dropped.clear()
    this.brought.clear()
    this.isAllLive = false
    this.stored = 0
    this.under = null
  }

  /** The server has none of them any more. */
  clear(): void {
    this.there.clear()
    this.brought.clear()
  }
}
