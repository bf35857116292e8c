// Whether a client's exchange may run on a shared server: its settings, its statement, its session. It owns
// nothing; what a server lacks is put on its way.
import type { Sharer } from '../pool/sharing.ts'
import type { NamedStatement } from '../session/statements.ts'
import type { Shape } from '../sql/shapes.ts'
import { isComparable } from '../wire/shape.ts'
import type { Lane } from './lane.ts'

/** May an exchange run on a lane? */
export const Fit = { Now: 0, Later: 1, Never: 2 } as const

/** The lane's server is in the state that the client wants. */
export function suits(lane: Lane, { session, baseline }: Sharer): boolean {
  return lane.settings === session.settings && (lane.server === null || lane.server.baseline === baseline)
}

/**
 * Has the lane's server the statement, and does it give there what the client was told? What it lacks is on
 * its way from now on.
 */
export function fitOf(lane: Lane, statement: NamedStatement | null, shape: Shape): number {
  const { server } = lane
  // Since it began to wait, perhaps: what held up one lane must not hold up the next.
  if (shape.refusal !== null) return Fit.Never
  if (statement === null || server === null) return Fit.Now
  const { definition } = statement
  const { statements } = server.talk
  const known = statements.shapeOf(definition.id)
  const isTold = isComparable(statement.shape)
  // What nobody has described here yet is described, too.
  if (!statements.isFresh(definition.id) || (isTold && known === 0)) {
    lane.bring(definition, shape)
    return Fit.Later
  }
  statements.touch(definition)
  return !isTold || known === statement.shape ? Fit.Now : Fit.Never
}

/** Nothing of its session binds it to one server or needs one to itself. */
export function isFree({ session }: Sharer): boolean {
  return !session.isBound && session.once === null && session.mail === null
}
