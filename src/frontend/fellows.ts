// The other processes that share the work, as those see them who take clients in. Types only; without workers
// there are none.

/** What only all processes together know. */
export interface Fellows {
  /** Which of them this is, from 0. */
  readonly number: number
  readonly count: number
  /** Counts a client that has said who it is. @returns the limit that keeps it out; null: it may come in */
  enter(address: string): Promise<string | null>
  /** The same for its database and user, once it has shown that it may. */
  enterUser(database: string, user: string): Promise<string | null>
  leave(address: string): void
  leaveUser(database: string, user: string): void
  /** Passes a cancel request on. Resolves when it can hit nothing any more. */
  cancel(pid: number, key: Buffer): Promise<void>
}
