// The reset of a server: everything that a session can leave behind goes, the statements that pgmux has
// prepared there included. It owns what the reset says about the server; a server that is not known to be
// clean is its caller's to close. It must never believe a statement that a session could have replaced.
import { Status } from '../wire/protocol.ts'
import { writeConnectQuery } from './connect-query.ts'
import { type InternalExchange, internalExchange, writeQuery, writeSetup } from './internal.ts'
import type { Output } from './output.ts'
import type { ServerParts } from './route.ts'
import type { Talk } from './talk.ts'

/** What is needed of a server. */
export interface ResetTarget {
  readonly parts: ServerParts
  readonly talk: Talk
  readonly out: Output
}

/**
 * Writes DISCARD ALL: one text, which no prepared statement can stand for, and the cheapest reset that
 * Postgres has. In an open block it fails, and says so.
 * @param then told whether the server is as after its login
 */
export function writeReset(target: ResetTarget, then: (isDone: boolean) => void): void {
  const { talk, out } = target
  const reset = internalExchange('reset', false, (status: number, exchange: InternalExchange) => {
    const isDone = exchange.error === null && status === Status.Idle
    talk.isClean = isDone
    // They are known to be gone.
    if (isDone) {
      talk.lostSetup = false
      talk.statements.clear()
      talk.names.clear()
      talk.names.settle()
      talk.unnamedOf = null
      talk.taintedBy = talk.sequencesOf = null
      talk.touched = 0
      const { settings, loginSettings } = talk
      // What Postgres reports it has told; of the rest it is as after its login.
      if (settings !== null && loginSettings !== null)
        talk.settings = settings.withOwn(talk.reported, loginSettings.values)
    }
    then(isDone)
  })
  writeQuery(talk, out, 'DISCARD ALL', reset)
  talk.needsSetup = true
  talk.hasProbes = false
  // What it has set is gone with the rest.
  writeConnectQuery(target, () => {})
}

/** Prepares our own statements again, if a reset took them. What follows rests on it. */
export function bringSetup(talk: Talk, out: Output): void {
  if (!talk.needsSetup) return
  talk.needsSetup = false
  talk.unconfirmed++
  writeSetup(
    talk,
    out,
    internalExchange('setup', true, () => {}),
  )
}
