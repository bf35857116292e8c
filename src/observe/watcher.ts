// The seam through which a program that embeds pgmux is told what happens. It owns the shape only. Whoever
// implements it must return at once and never throw: it is called from the middle of things.

/** Who it is about; '' where it is not known. */
export interface Whose {
  readonly database: string
  readonly user: string
  readonly address: string
}

export interface Watcher {
  /** A client has logged in. */
  entered(client: Whose): void
  /** It has gone. */
  left(client: Whose, reason: string): void
  /** Something was refused, or went wrong. */
  troubled(
    words: { readonly code: string; readonly reason: string; readonly message: string },
    where: Whose,
  ): void
  /** A session keeps its server beyond its transaction, or no more. */
  pinned(reason: string, statement: string, client: Whose): void
  unpinned(reason: string, statement: string, client: Whose): void
}
