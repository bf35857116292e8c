// Owns what happens to an exception that a handler of a stream throws: it is reported here and ends one
// stream only. Must never throw and never let an exception of one connection reach the process.

/** `where` says in words what was running, for example `onData of a tcp stream`. */
export type HandlerErrorReporter = (error: Error, where: string) => void

let reporter: HandlerErrorReporter = (error, where) => {
  process.emitWarning(`${where}: ${error.message}`, 'PgmuxInternalError')
}

/** Sets where internal errors of connections are reported (the log). Until then they are process warnings. */
export function setHandlerErrorReporter(fn: HandlerErrorReporter): void {
  reporter = fn
}

/** Reports an internal error and gives it back as an Error. Never throws. */
export function reportHandlerError(thrown: unknown, where: string): Error {
  const error = thrown instanceof Error ? thrown : new Error(String(thrown))
  try {
    reporter(error, where)
  } catch {
    // A log that fails must not take connections down.
  }
  return error
}
