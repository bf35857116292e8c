// Statement names in messages: read from a client's, written into ours. Pure functions on bytes.
import { NAME_MAX } from '../session/statements.ts'
import type { Framer } from '../wire/framer.ts'

const HEADER = 5
const STATEMENT = 0x53
const BIND = 0x42
/** Of a name that does not exist this much is kept for the error: a batch may hold very many of them. */
const TOLD_MAX = 256

/** A statement name, one character a byte, as far as Postgres looks at it. */
export function nameOf(src: Buffer, start: number, stop: number): string {
  return src.toString('latin1', start, Math.min(stop, start + NAME_MAX))
}

/** The name as it was sent: Postgres compares a part of it, but tells more of it. */
export function fullName(src: Buffer, start: number, stop: number): string {
  return src.toString('latin1', start, Math.min(stop, start + TOLD_MAX))
}

/** A Describe or Close of a statement. */
export function targetMessage(type: number, name: string): Buffer {
  const message = Buffer.allocUnsafe(HEADER + 1 + name.length + 1)
  message[0] = type
  message.writeInt32BE(message.length - 1, 1)
  message[HEADER] = STATEMENT
  message.write(name, HEADER + 1, 'latin1')
  message[message.length - 1] = 0
  return message
}

/**
 * A client's Bind up to the name of its statement, with another name there; what follows in the client's
 * message belongs behind it as it came.
 * @param nameStart of the client's own name
 */
export function bindHead(framer: Framer, nameStart: number, nameStop: number, name: string): Buffer {
  const { src, start, stop } = framer
  // The portal with its end.
  const portalLength = nameStart - start - HEADER
  const head = Buffer.allocUnsafe(HEADER + portalLength + name.length + 1)
  head[0] = BIND
  head.writeInt32BE(4 + portalLength + name.length + (stop - nameStop) + framer.rest, 1)
  src.copy(head, HEADER, start + HEADER, nameStart)
  head.write(name, HEADER + portalLength, 'latin1')
  head[head.length - 1] = 0
  return head
}
