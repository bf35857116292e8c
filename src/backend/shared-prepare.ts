// Brings a client's statement to a server on which several clients share, as an exchange of its own: who runs
// it there needs nothing brought. It owns nothing.
import { Fate, Reply } from '../pool/replies.ts'
import type { Definition } from '../session/statements.ts'
import { close, SYNC } from '../wire/messages.ts'
import { FromClient } from '../wire/protocol.ts'
import { internalExchange, writeEvictions, writeNamed } from './internal.ts'
import { targetMessage } from './names.ts'
import type { Server } from './server.ts'

/** Parses and describes it there, once. @param then is it there now? */
export function prepareShared(
  server: Server,
  definition: Definition,
  then: (isThere: boolean) => void,
): void {
  const { talk, out, parts } = server
  if (talk.bringing.has(definition.id)) return
  talk.bringing.add(definition.id)
  const max = parts.route.maxPreparedStatements - 1
  // What is in flight comes before it.
  if (talk.statements.surplus(max) !== null)
    writeEvictions(
      talk,
      out,
      max,
      internalExchange('evict', false, () => {}),
    )
  const done = internalExchange('prepare', false, () => {
    talk.bringing.delete(definition.id)
    then(talk.statements.has(definition.id))
  })
  talk.replies.push(Reply.Close | Fate.Swallow, definition)
  talk.replies.push(Reply.Parse | Fate.Swallow, definition)
  talk.replies.push(Reply.DescribeStatement | Fate.Swallow, definition)
  talk.replies.push(Reply.Sync | Fate.Internal, done)
  out.write(close('S', definition.name))
  writeNamed(out, definition.name, definition.bodyNow)
  out.write(targetMessage(FromClient.Describe, definition.name))
  out.write(SYNC)
}
