// Which databases an operator has paused or disabled. It owns these marks, which hold for pools that do not
// exist yet as well; it acts on nothing.

export class Gates {
  /** PAUSE without a name. */
  isAllPaused = false
  readonly paused = new Set<string>()
  /** New clients are refused. */
  readonly disabled = new Set<string>()

  isPaused(database: string): boolean {
    return this.isAllPaused || this.paused.has(database)
  }

  /** @param database null: all */
  pause(database: string | null): void {
    if (database === null) this.isAllPaused = true
    else this.paused.add(database)
  }

  /** @param database null: the pause of all; those paused by name stay so */
  resume(database: string | null): void {
    if (database === null) this.isAllPaused = false
    else this.paused.delete(database)
  }
}
