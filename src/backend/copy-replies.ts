// The queue of replies around a COPY IN: which Syncs it has eaten, which it may have eaten, and how that is
// settled behind a failed one. Functions on the queue; they read and write no bytes.
import { Fate, Reply, REPLY_KIND, type Replies } from '../pool/replies.ts'
import { field } from '../wire/error-response.ts'
import { FromServer } from '../wire/protocol.ts'
import { FENCE, type InternalExchange } from './internal.ts'
import { Copy, type Talk } from './talk.ts'

/** The Syncs in front of the end of a COPY IN are read, and ignored, by the COPY. */
export function doubtSyncs(replies: Replies): void {
  for (let place = 1; place < replies.size; place++) {
    const code = replies.at(place)
    if ((code & REPLY_KIND) === Reply.CopyEnd) return
    if ((code & REPLY_KIND) === Reply.Sync) replies.setAt(place, code | Fate.Doubtful)
  }
}

/** COPY is over: what it has eaten is not answered. */
export function endCopy(talk: Talk): void {
  const { replies } = talk
  if (talk.copy === Copy.In) {
    // In a simple Query the entry of the Query stays in front.
    const first = (replies.head & REPLY_KIND) === Reply.Query ? 1 : 0
    for (let place = first; place < replies.size; ) {
      const code = replies.at(place)
      const isEnd = (code & REPLY_KIND) === Reply.CopyEnd
      if (!isEnd && (code & Fate.Doubtful) === 0) break
      if (!isEnd) talk.exchanges--
      replies.removeAt(place)
      if (isEnd) break
    }
  }
  talk.copy = Copy.None
}

/**
 * Does this error say that a COPY IN has taken a message for its own that is none? Since Postgres 14 the
 * connection ends with that; before, it goes on, and nobody knows which messages it answers.
 */
export function leadsAstray(talk: Talk, error: Buffer): boolean {
  if (talk.copy !== Copy.In || field(error, 'C') !== '08P01') return false
  return Number.parseInt(talk.parameters.get('server_version') ?? '', 10) < 14
}

/** Is there a Sync that a COPY may have eaten? */
export function hasDoubtful(replies: Replies): boolean {
  for (let place = 0; place < replies.size; place++) {
    if ((replies.at(place) & Fate.Doubtful) !== 0) return true
  }
  return false
}

/**
 * Behind a failed COPY IN: an answer of this type, if it can answer no Sync, shows that the Syncs in front
 * were eaten. @returns whether there were any.
 */
export function dropEatenSyncs(talk: Talk, type: number): boolean {
  if (type === FromServer.ReadyForQuery || type === FromServer.NoticeResponse) return false
  if (type === FromServer.ParameterStatus || type === FromServer.NotificationResponse) return false
  const { replies } = talk
  const before = replies.size
  for (;;) {
    const { head } = replies
    const isSync = head === Reply.Sync || head === (Reply.Sync | Fate.Doubtful)
    if (!isSync && head !== Reply.CopyEnd) return replies.size < before
    if (isSync) talk.exchanges--
    replies.shift()
  }
}

/** Behind a failed COPY IN: the fence is reached, so what stands in front of it was eaten by the COPY. */
export function dropToFence(talk: Talk): void {
  const { replies } = talk
  while (replies.size > 0 && !isFence(replies)) {
    const isClients = (replies.head & Fate.Internal) === 0
    if (isClients && (replies.head & REPLY_KIND) === Reply.Sync) talk.exchanges--
    replies.shift()
  }
}

function isFence(replies: Replies): boolean {
  return (replies.head & Fate.Internal) !== 0 && (replies.headRef as InternalExchange).name === FENCE
}
