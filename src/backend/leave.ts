// What a server does after its client has gone: finish what was asked for, undo what was half asked for,
// and become clean again, or close (RULES 23). It never sends a Sync or CopyDone that would commit
// something half.
import type { PoolMode } from '../config/types.ts'
import type { Departure } from '../pool/lease.ts'
import { Reply, REPLY_KIND } from '../pool/replies.ts'
import type { PinReason, VirtualSession } from '../session/virtual-session.ts'
import { Touch } from '../sql/effects.ts'
import { copyFail } from '../wire/messages.ts'
import { Status } from '../wire/protocol.ts'
import { type InternalExchange, internalExchange, writeFence, writeQuery, writeSync } from './internal.ts'
import { writeReset } from './reset.ts'
import type { Server } from './server.ts'
import { Copy, type Talk } from './talk.ts'

/** What becomes of session state: there is none, it is reset, or it goes with the server. */
export type Undoing = 'nothing' | 'reset' | 'close'

/** Pins for what a reset does not undo, or for a session without one. */
const NOT_RESET: readonly PinReason[] = ['session', 'backend_state', 'large_statement', 'custom_name']

/** What a session leaves to be undone. */
export function undoingOf(mode: PoolMode, talk: Talk, session: VirtualSession | undefined): Undoing {
  // In session mode texts are not looked at.
  if (mode === 'session') return talk.isStrict ? 'close' : 'reset'
  const isTouched = (talk.touched & ~Touch.Acts) !== 0 || talk.isReadingBack || talk.isListening
  talk.touched = 0
  if (session === undefined) return 'nothing'
  if (session.once !== null) return session.once.isClean ? 'nothing' : 'reset'
  if (session.statements.hasLarge || NOT_RESET.some((reason) => session.pins.has(reason))) return 'close'
  return isTouched || session.pins.size > 0 ? 'reset' : 'nothing'
}

/** A clean-up that is under way. */
export interface Leaving {
  /** When what still runs is cancelled, then closed. */
  deadline: number
  isCancelled: boolean
  /** Session state must go as well. */
  undoing: Undoing
  rollbacks: number
}

const ROLLBACKS_MAX = 3
const RESET_FAILED = 'the reset of a session failed'
const NOBODY_ELSES = 'the client left a session that cannot be given to others'
const COPY_FAIL = copyFail('the client has gone')

/** Begins the clean-up. May close the server. */
export function leave(server: Server, how: Departure, undoing: Undoing): void {
  const { talk } = server
  if (talk.restOut > 0) {
    server.close('the client left in the middle of a message')
    return
  }
  // Where something still runs Postgres would not notice: it is let run, and cancelled in time, as ever.
  if (talk.copy === Copy.Both || (undoing === 'close' && talk.replies.size === 0)) {
    server.close(NOBODY_ELSES)
    return
  }
  server.leaving = {
    deadline: talk.time.now + graceMs(server, how),
    isCancelled: false,
    undoing,
    rollbacks: 0,
  }
  if (talk.copy === Copy.In && !talk.hasCopyEnd) endCopy(server)
  else if (talk.isBatchOpen) undoBatch(server)
  talk.endBatch()
  server.out.flush()
}

/** Goes on with the clean-up after each event, until the server is free or closed. */
export function settleLeaving(server: Server, isAtBoundary: boolean): void {
  const { talk, out, leaving } = server
  // It may have been asked for a COPY just before: nobody will send its data, or its Sync.
  if (talk.copy === Copy.In && !talk.hasCopyEnd) endCopy(server)
  else if (talk.copy === Copy.In && lacksSync(server)) {
    server.close('a COPY was left without the Sync behind it')
    return
  }
  if (talk.needsFence) writeFence(talk, out)
  if (leaving === null || talk.replies.size > 0 || talk.cancels > 0 || !isAtBoundary) return
  if (leaving.undoing === 'close') {
    server.close(NOBODY_ELSES)
    return
  }
  if (talk.status !== Status.Idle) {
    if (++leaving.rollbacks > ROLLBACKS_MAX) server.close('a transaction could not be rolled back')
    else writeQuery(talk, out, 'ROLLBACK', cleanup())
    return
  }
  if (leaving.undoing !== 'nothing') {
    leaving.undoing = 'nothing'
    limit(server, leaving)
    writeReset(server, (isDone) => {
      if (!isDone) server.close(RESET_FAILED)
    })
    return
  }
  if (talk.isFree) server.release()
  else server.close('the state of the server is not known')
}

/** Is it time to cancel what was left to run? Where that has been done, and in vain, the server is closed. */
export function isOverdue(server: Server, now: number): boolean {
  const { leaving } = server
  if (leaving === null || now < leaving.deadline) return false
  if (leaving.isCancelled) {
    server.close('what a client left behind did not end')
    return false
  }
  leaving.isCancelled = true
  leaving.deadline = now + server.parts.route.cancelTimeoutMs
  return true
}

/** From here on nobody wants anything of it: it need not have the time of what a client has asked for. */
function limit(server: Server, leaving: Leaving): void {
  const { cancelTimeoutMs } = server.parts.route
  if (cancelTimeoutMs === 0 || leaving.isCancelled) return
  leaving.deadline = Math.min(leaving.deadline, server.talk.time.now + cancelTimeoutMs)
}

/** How long what the client asked for may run on. */
function graceMs(server: Server, how: Departure): number {
  const { goneGraceMs, abandonGraceMs } = server.parts.route
  if (how === 'cut') return 0
  if (how === 'lost') return abandonGraceMs
  return goneGraceMs === 0 ? Number.POSITIVE_INFINITY : goneGraceMs
}

function endCopy(server: Server): void {
  const { talk, out } = server
  const isSimple = (talk.replies.head & REPLY_KIND) === Reply.Query
  talk.replies.push(Reply.CopyEnd, null)
  out.write(COPY_FAIL)
  if (!isSimple) writeSync(talk, out, cleanup())
}

/**
 * The COPY has eaten the Sync of its batch, and none has come since: Postgres waits, and a Sync would
 * commit.
 */
function lacksSync(server: Server): boolean {
  const { replies } = server.talk
  let isBehindEnd = false
  for (let place = 0; place < replies.size; place++) {
    const code = replies.at(place)
    if ((code & REPLY_KIND) === Reply.CopyEnd) isBehindEnd = true
    else if (isBehindEnd) return false
  }
  return isBehindEnd && (replies.head & REPLY_KIND) !== Reply.Query
}

/** Not the Sync first: it would commit the half that was sent. */
function undoBatch(server: Server): void {
  const { talk, out } = server
  if (talk.replies.size > 0 && !talk.hasCopyEnd) {
    // Should what runs turn out to be a COPY IN, a Query in it would end the connection; elsewhere this is
    // ignored.
    talk.replies.push(Reply.CopyEnd, null)
    out.write(COPY_FAIL)
  }
  writeQuery(talk, out, 'ROLLBACK', cleanup())
  writeSync(talk, out, cleanup())
}

function cleanup(): InternalExchange {
  return internalExchange('rollback', false, () => {})
}
