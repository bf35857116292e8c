// Which statement a client runs, by its shape: for whoever looks on, and for what is counted of each. On the
// path of every statement: numbers are added, nothing is made. It decides nothing.
import { Reply, REPLY_KIND } from '../pool/replies.ts'
import type { Definition } from '../session/statements.ts'
import type { VirtualSession } from '../session/virtual-session.ts'
import type { Shape } from '../sql/shapes.ts'
import type { Framer } from '../wire/framer.ts'
import { FromClient } from '../wire/protocol.ts'
import type { Insight } from './insight.ts'
import { shapeOfRef } from './refs.ts'
import { noteTag } from './session-effects.ts'
import type { Talk } from './talk.ts'

const HEADER = 5
/** Statements of one session whose shapes are remembered where it has its server to itself. */
const NAMES_MAX = 1000

/** Of the text that begins at `start` and ends with a zero byte. */
export function shapeOfText(
  insight: Insight,
  session: VirtualSession | null,
  framer: Framer,
  start: number,
): Shape {
  const { src, stop } = framer
  const { shapes } = insight
  if (session === null) return shapes.others
  const { offered } = session
  session.offered = null
  if (offered !== null) return offered
  const end = framer.rest > 0 ? -1 : src.indexOf(0, start)
  return end < 0 || end >= stop ? shapes.others : insight.statement(src, start, end, session.settings)
}

/** Of a statement that was parsed before. */
export function shapeOfDefinition(insight: Insight, session: VirtualSession, definition: Definition): Shape {
  const known = definition.shape
  if (known !== null && known.heir === null) return known
  const { body } = definition
  const end = body.indexOf(0)
  const { offered } = session
  session.offered = null
  const shape =
    offered ?? (end < 0 ? insight.shapes.others : insight.statement(body, 0, end, session.settings))
  definition.shape = shape
  return shape
}

/** Where messages pass as they are (session mode): which statement a Parse has made, or a Bind runs. */
export function notePlain(
  talk: Talk,
  insight: Insight,
  session: VirtualSession | null,
  framer: Framer,
): void {
  const { src, start, type } = framer
  if (session === null || (type !== FromClient.Parse && type !== FromClient.Bind)) return
  const nameStart = type === FromClient.Parse ? start + HEADER : src.indexOf(0, start + HEADER) + 1
  const nameEnd = src.indexOf(0, nameStart)
  if (nameEnd < 0) return
  const name = hashOf(src, nameStart, nameEnd)
  if (type === FromClient.Bind) {
    talk.shape = talk.bound = session.shapes?.get(name) ?? insight.shapes.others
    return
  }
  session.shapes ??= new Map()
  if (session.shapes.size >= NAMES_MAX) session.shapes.clear()
  talk.shape = shapeOfText(insight, session, framer, nameEnd + 1)
  session.shapes.set(name, talk.shape)
}

function hashOf(src: Buffer, start: number, end: number): number {
  let sum = end - start
  for (let at = start; at < end; at++) sum = Math.imul(sum ^ src[at], 0x01000193)
  return sum
}

/** A message of a batch was sent, and somebody looks on. */
export function traceMessage({ watch, shape, bound }: Talk, framer: Framer): void {
  const { src, start, type } = framer
  if (type === FromClient.Execute) watch?.tracing?.message(framer, bound)
  // Of a statement with a name it is known once it is run.
  else if (type === FromClient.Parse && src[start + HEADER] === 0) watch?.tracing?.message(framer, shape)
  else watch?.tracing?.message(framer, null)
}

/** The end of a statement of the client has come: its CommandComplete. */
export function commandDone(talk: Talk, framer: Framer, session: VirtualSession | undefined): void {
  noteTag(talk, framer, session)
  const { head, headRef } = talk.replies
  const shape = shapeOfRef(headRef)
  if (shape === null) return
  const rows = rowsOf(framer)
  shape.gave(rows)
  talk.watch?.gave(rows)
  if ((head & REPLY_KIND) === Reply.Execute) talk.ran(shape)
}

/** An error came for the entry at the head. */
export function commandFailed(talk: Talk): void {
  const { head, headRef } = talk.replies
  const kind = head & REPLY_KIND
  const shape = shapeOfRef(headRef) ?? (kind === Reply.Query ? null : talk.shape)
  if (shape === null) {
    talk.watch?.drop()
    return
  }
  shape.failed()
  // A Query goes on to its ReadyForQuery, and is counted there.
  if (kind !== Reply.Query) talk.ran(shape)
}

/** How many rows a CommandComplete tells of: the number at the end of its tag. */
export function rowsOf({ src, start, stop }: Framer): number {
  let rows = 0
  let unit = 1
  for (let at = stop - 2; at >= start + HEADER; at--) {
    const digit = src[at] - 0x30
    if (digit < 0 || digit > 9) break
    rows += digit * unit
    unit *= 10
  }
  return rows
}
