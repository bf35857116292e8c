// Whether what a server has under a statement is what the client was told that it gives: a client that has
// a description decodes rows with it, whatever comes (RULES 17). Postgres itself sees to that as long as a
// client stays on one server. Functions on the talk; they write no bytes.
import { Reply, REPLY_KIND } from '../pool/replies.ts'
import { Definition, NamedStatement } from '../session/statements.ts'
import type { Framer } from '../wire/framer.ts'
import { FromClient, Status } from '../wire/protocol.ts'
import { isComparable, shapeOf } from '../wire/shape.ts'
import { Copy, type Talk } from './talk.ts'

const HEADER = 5

/** Ask: parse and describe it here first. */
export const Fit = { Yes: 0, No: 1, Ask: 2 } as const

/** One of `Fit`, for a Bind of this statement that is the message the framer gave out last. */
export function fitOf(talk: Talk, statement: NamedStatement, framer: Framer): number {
  const { shape, definition } = statement
  if (!isComparable(shape) || definition.isLarge) return Fit.Yes
  const there = talk.statements.shapeOf(definition.id)
  const isAsked = talk.asked === definition
  if (there === shape && (isAsked || !talk.parsedInBatch.has(definition.id))) return Fit.Yes
  // Postgres will not come to it, or the client is about to look anew.
  if (talk.replies.isSkipping || talk.status === Status.Failed || talk.copy !== Copy.None) return Fit.Yes
  if (framer.nextType === FromClient.Describe) return Fit.Yes
  if (!isAsked) return Fit.Ask
  return isComparable(there) ? Fit.No : Fit.Yes
}

/**
 * ParameterDescription came: with values of which types its clients bind the statement.
 * @returns false: nobody has asked for it
 */
export function parametersDescribed({ replies }: Talk, { src, start, stop, rest }: Framer): boolean {
  if ((replies.head & REPLY_KIND) !== Reply.DescribeStatement) return false
  const ref = replies.headRef
  if (ref instanceof NamedStatement && rest === 0) ref.definition.told(src, start + HEADER, stop)
  return true
}

/** RowDescription or NoData came for the entry at the head: what a statement gives on this server. */
export function described(talk: Talk, framer: Framer): void {
  const ref = talk.replies.headRef
  const isAsked = ref instanceof Definition
  if (isAsked) talk.isAsking = false
  else if (!(ref instanceof NamedStatement)) return
  const { id } = isAsked ? ref : ref.definition
  let shape = talk.statements.shapeOf(id)
  if (shape === 0) {
    shape = shapeOf(framer.src, framer.start, framer.stop, framer.rest)
    talk.statements.setShape(id, shape)
  }
  if (!isAsked) ref.shape = shape
}
