// What an ErrorResponse means: what the client reads instead of our names, what is left of the queue and of
// its statements, and whether a new Parse heals it. Functions on the talk; they write no bytes.
import { Fate, Reply, REPLY_KIND } from '../pool/replies.ts'
import { NamedStatement } from '../session/statements.ts'
import type { VirtualSession } from '../session/virtual-session.ts'
import { field, parseErrorResponse, replaceName } from '../wire/error-response.ts'
import { hasDoubtful } from './copy-replies.ts'
import { Fault, faultOf } from './healing.ts'
import { commandFailed } from './running.ts'
import {
  NamedClose,
  NamedParse,
  NameFix,
  Substitute,
  UNNAMED_CLOSE,
  UnnamedFix,
  UnnamedParse,
} from './refs.ts'
import { Copy, type Talk } from './talk.ts'

/** Longer messages are passed on as they are: Postgres' own about names are short. */
const NAME_LENGTH_MAX = 300

/** Longer ones are not rewritten. */
const REWRITTEN_MAX = 8192
/** What a text tells that does not find a name, or comes behind an error. */
const NOT_FOUND = new Set(['26000', '25P02'])

/** What the client reads in the place of the error to the entry at the head; null: the error itself. */
export function otherWords(talk: Talk, bytes: Buffer, isWhole: boolean): Buffer | null {
  const ref = talk.replies.headRef
  if (ref instanceof Substitute) {
    const isQuery = (talk.replies.head & REPLY_KIND) === Reply.Query
    return isQuery && !NOT_FOUND.has(field(bytes, 'C')) ? null : ref.error
  }
  const { failedParse } = talk
  if (ref instanceof NamedStatement && ref.definition.id === failedParse?.id) {
    talk.failedParse = null
    return failedParse.error
  }
  const isNamed = ref instanceof NameFix || ref instanceof NamedStatement
  return isNamed && isWhole && bytes.length < REWRITTEN_MAX ? inClientsWords(bytes, ref) : null
}

/** The error with the client's name in the place of ours. */
function inClientsWords(bytes: Buffer, ref: NameFix | NamedStatement): Buffer {
  const isFix = ref instanceof NameFix
  const from = isFix ? ref.serverName : ref.definition.name
  const to = isFix ? ref.clientName : ref.name
  const isLong = parseErrorResponse(bytes, 0, bytes.length).message.length > NAME_LENGTH_MAX
  return isLong ? Buffer.from(bytes) : replaceName(bytes, from, Buffer.from(to, 'latin1'))
}

/**
 * Is this an error that a new Parse heals? What it says about the statement is noted in any case, for the
 * exchanges to come.
 */
export function isCurable(talk: Talk, bytes: Buffer, ref: NamedStatement): boolean {
  const { healing, replies, statements } = talk
  const { id } = ref.definition
  const fault = faultOf(bytes)
  if (fault === Fault.None) return false
  if (fault === Fault.Lost) statements.delete(id)
  else statements.markOutgrown(id)
  if (!healing.cures(fault, ref, replies.size)) return false
  statements.delete(id)
  return true
}

/** What an error to the entry at the head did to the queue and to the client's statements. */
export function afterError(talk: Talk, head: number, session: VirtualSession | undefined): void {
  const { replies } = talk
  const kind = head & REPLY_KIND
  if ((head & Fate.Internal) === 0) commandFailed(talk)
  const wasCopyIn = talk.copy === Copy.In
  if (wasCopyIn) {
    talk.needsFence = talk.isDoubtful = hasDoubtful(replies)
    // It may have eaten messages that were to change the unnamed statement.
    talk.unnamedOf = null
  }
  talk.copy = Copy.None
  talk.isAsking = false
  if (kind === Reply.Query || kind === Reply.FunctionCall) return
  const ref = replies.headRef
  // The failing entry itself: a Parse of the unnamed statement that reached Postgres drops it (RULES 15).
  if (ref instanceof UnnamedParse) {
    session?.setUnnamed(null)
    replies.shift()
  }
  replies.skipToSync((code, dropped) => onDropped(talk, session, [code, dropped]))
  if (replies.isSkipping) talk.isBatchOpen = true
}

/** Postgres never came to this message, or refused it. */
function onDropped(talk: Talk, session: VirtualSession | undefined, [code, ref]: [number, unknown]): void {
  if (ref instanceof NamedParse || ref instanceof NamedClose) session?.statements.withdraw(ref.change)
  else if (ref instanceof UnnamedParse) {
    session?.giveBack(ref.unnamed)
    talk.unnamedOf = null
  } else if (ref === UNNAMED_CLOSE || ref instanceof UnnamedFix) talk.unnamedOf = null
  const kind = code & REPLY_KIND
  if (kind === Reply.Query || kind === Reply.FunctionCall) {
    if ((code & Fate.Internal) === 0) talk.exchanges--
    talk.unnamedOf = null
  }
}
