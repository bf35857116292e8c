// currval and lastval, which tell what the session got from a sequence last: never what another client got
// (RULES 12), unless `session.sequences` is `pass`. It owns nothing; whose values a server has is in its
// talk, whether anybody asks in the insight.
import type { VirtualSession } from '../session/virtual-session.ts'
import { Touch } from '../sql/effects.ts'
import { Status } from '../wire/protocol.ts'
import type { Insight } from './insight.ts'
import { internalExchange, writeQuery } from './internal.ts'
import type { Output } from './output.ts'
import type { Talk } from './talk.ts'

/** An INSERT, or a function, may take from a sequence without naming it. */
const MAY_WRITE = Touch.Acts | Touch.WritesSequence | Touch.Unknown

/** What is needed of a server. */
export interface SequenceTarget {
  readonly talk: Talk
  readonly out: Output
}

/** A text is sent to be run that may take from a sequence. */
export function noteSequences(talk: Talk, session: VirtualSession, touches: number): void {
  if ((touches & MAY_WRITE) === 0 || talk.sequencesOf === session) return
  talk.sequencesOf = talk.sequencesOf === null ? session : 'many'
}

/**
 * In front of a lease: what others have got is forgotten, where anybody asks for such values at all. Then
 * Postgres itself says that there is none.
 */
export function bringSequences(target: SequenceTarget, session: VirtualSession, insight: Insight): void {
  const { sequences, sequencesOf } = target.talk
  if (sequencesOf === null || sequencesOf === session || sequences === 'pass') return
  if (insight.readsSequences || sequences === 'pin') forget(target)
}

/**
 * A text is about to be sent. The first that asks for such a value teaches that it is asked for here.
 * @returns false: it might tell what another client got, and cannot be forgotten now
 */
export function mayRead(
  target: SequenceTarget,
  session: VirtualSession,
  insight: Insight,
  touches: number,
): boolean {
  const { talk } = target
  if ((touches & Touch.ReadsSequence) === 0 || talk.sequences === 'pass') return true
  insight.readsSequences = true
  if (talk.sequencesOf === null || talk.sequencesOf === session) return true
  if (talk.status !== Status.Idle || talk.exchanges > 0 || talk.isBatchOpen) return false
  forget(target)
  return true
}

/**
 * At the end of a transaction: does the client keep its server because it may ask for what it got? For one
 * transaction more, where values are asked for; with `pin` until it gives them up.
 */
export function lingers(
  { sequences }: Talk,
  { pins }: VirtualSession,
  touched: number,
  insight: Insight,
): boolean {
  if (sequences === 'pass') return false
  if ((touched & MAY_WRITE) !== 0) return sequences === 'pin' || insight.readsSequences
  return sequences === 'pin' && pins.has('sequence') && (touched & Touch.ForgetsSequence) === 0
}

function forget({ talk, out }: SequenceTarget): void {
  talk.sequencesOf = null
  talk.unconfirmed++
  writeQuery(
    talk,
    out,
    'DISCARD SEQUENCES',
    internalExchange('sequences', true, () => {}),
  )
}
