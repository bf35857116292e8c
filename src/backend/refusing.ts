// Refuses a message in the middle of a batch: Postgres makes the error itself, so that the transaction and
// the batch fail as they must, and the client reads other words. It owns the messages that must fail.
import { Reply } from '../pool/replies.ts'
import type { Framer } from '../wire/framer.ts'
import { FromClient } from '../wire/protocol.ts'
import { MISSING_NAME, namedParse, TAKEN_NAME } from './internal.ts'
import type { Output } from './output.ts'
import { Substitute } from './refs.ts'
import type { Talk } from './talk.ts'

const HEADER = 5
const TAKEN = namedParse(TAKEN_NAME, Buffer.from([0, 0, 0]))
/** Fails in every state of a server. */
const BROKEN = namedParse(MISSING_NAME, Buffer.from(')\0\0\0', 'latin1'))
/** The same without its end. */
const BEGINNING = Buffer.from(`${MISSING_NAME}\0)`, 'latin1')

/** What is needed of a server. */
export interface RefusingTarget {
  readonly talk: Talk
  readonly out: Output
}

/** Sends one that must fail in the place of the message that the framer gave out last. */
export function refuseMessage({ talk, out }: RefusingTarget, framer: Framer, error: Buffer): void {
  // Where a reset took our statements, no name is taken for certain.
  if (framer.rest === 0) out.write(talk.needsSetup ? BROKEN : TAKEN)
  else writeAround(out, framer)
  talk.replies.push(Reply.Parse, new Substitute(error))
}

/** What is still to come of it is forwarded, and must not be taken for a message. */
function writeAround(out: Output, { src, start, stop, rest }: Framer): void {
  const head = Buffer.allocUnsafe(HEADER + BEGINNING.length)
  head[0] = FromClient.Parse
  head.writeInt32BE(4 + BEGINNING.length + (stop - start - HEADER) + rest, 1)
  BEGINNING.copy(head, HEADER)
  out.write(head)
  out.forward(src, start + HEADER, stop)
}
