// What a server does after its client has gone: finish what was asked for, undo what was half asked for, and
// become clean again, or close (RULES 23). It never sends a Sync or CopyDone that would commit something
// half.
import type { Departure } from '../pool/lease.ts'
import { Reply, REPLY_KIND } from '../pool/replies.ts'
import { copyFail } from '../wire/messages.ts'
import { Status } from '../wire/protocol.ts'
import { type InternalExchange, internalExchange, writeQuery, writeSync } from './internal.ts'
import type { Server } from './server.ts'
import { Copy } from './talk.ts'

/** A clean-up that is under way. */
export interface Leaving {
  /** When what still runs is cancelled, then closed. */
  deadline: number
  isCancelled: boolean
  /** Session state must go as well (session mode). */
  needsReset: boolean
  rollbacks: number
}

const ROLLBACKS_MAX = 3

/** Begins the clean-up. May close the server. */
export function leave(server: Server, how: Departure, needsReset: boolean): void {
  const { talk, parts, out } = server
  if (talk.restOut > 0) {
    server.close('the client left in the middle of a message')
    return
  }
  if (talk.copy === Copy.Both || (needsReset && parts.route.mode !== 'session')) {
    server.close('the client left a session that cannot be given to others')
    return
  }
  const grace = how === 'terminated' ? parts.route.goneGraceMs : parts.route.abandonGraceMs
  const forever = how === 'terminated' && grace === 0
  server.leaving = {
    deadline: forever ? Number.POSITIVE_INFINITY : talk.time.now + grace,
    isCancelled: false,
    needsReset,
    rollbacks: 0,
  }
  talk.isCancelWanted = false
  if (talk.copy === Copy.In && !isCopyEnding(server)) endCopy(server)
  else if (talk.isBatchOpen) {
    // Not the Sync first: it would commit the half that was sent.
    writeQuery(talk, out, 'ROLLBACK', cleanup())
    writeSync(talk, out, cleanup())
  }
  talk.endBatch()
  out.flush()
}

/** Goes on with the clean-up after each event, until the server is free or closed. */
export function settleLeaving(server: Server, isAtBoundary: boolean): void {
  const { talk, out, leaving } = server
  if (leaving === null || talk.replies.size > 0 || talk.cancels > 0 || !isAtBoundary) return
  if (talk.status !== Status.Idle) {
    if (++leaving.rollbacks > ROLLBACKS_MAX) server.close('a transaction could not be rolled back')
    else writeQuery(talk, out, 'ROLLBACK', cleanup())
    return
  }
  if (leaving.needsReset) {
    leaving.needsReset = false
    const reset = internalExchange('reset', false, (_status: number, exchange: InternalExchange) => {
      if (exchange.error !== null) server.close('the reset of a session failed')
    })
    writeQuery(talk, out, 'DISCARD ALL', reset)
    return
  }
  if (talk.isFree) server.release()
  else server.close('the state of the server is not known')
}

function endCopy(server: Server): void {
  const { talk, out } = server
  const isSimple = (talk.replies.head & REPLY_KIND) === Reply.Query
  talk.replies.push(Reply.CopyEnd, null)
  out.write(copyFail('the client has gone'))
  if (!isSimple) writeSync(talk, out, cleanup())
}

/** The client has sent CopyDone or CopyFail, so the COPY ends by itself. */
function isCopyEnding(server: Server): boolean {
  const { replies } = server.talk
  for (let place = 0; place < replies.size; place++) {
    if ((replies.at(place) & REPLY_KIND) === Reply.CopyEnd) return !server.talk.isBatchOpen
  }
  return false
}

function cleanup(): InternalExchange {
  return internalExchange('rollback', false, () => {})
}
