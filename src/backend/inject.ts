// Puts a statement of ours in front of the client's next message, wherever the client stands: in an exchange
// of its own, in the client's transaction, or in the middle of its batch. It owns nothing.
import { Fate, Reply } from '../pool/replies.ts'
import { PREFIX } from '../session/statements.ts'
import { bind, close, execute, parse } from '../wire/messages.ts'
import { internalExchange, writeQuery } from './internal.ts'
import type { Output } from './output.ts'
import { BRINGING } from './refs.ts'
import type { Talk } from './talk.ts'

/** Name of the statement and of its portal, which are gone again behind it. */
const NAME = `${PREFIX}injected`
const BEHIND_PARSE = Buffer.concat([bind(NAME, NAME, []), execute(NAME), close('P', NAME), close('S', NAME)])
const OF_BATCH = [Reply.Parse, Reply.Bind, Reply.Execute, Reply.Close, Reply.Close]

export interface Injection {
  /** For log lines and errors. */
  readonly name: string
  /** Nothing behind it may run when it fails. */
  readonly isGuard: boolean
}

/**
 * The statement's answers are swallowed. If it fails in a transaction of the client, that has failed.
 * @returns whether it runs as a transaction of its own
 */
export function inject(target: { talk: Talk; out: Output }, text: string, how: Injection): boolean {
  const { talk, out } = target
  if (talk.isBatchOpen) {
    for (const kind of OF_BATCH) talk.replies.push(kind | Fate.Swallow, BRINGING)
    out.write(parse(NAME, text))
    out.write(BEHIND_PARSE)
    return false
  }
  const isApart = !talk.mayBeInside
  const isGuard = isApart && how.isGuard
  if (isGuard) talk.unconfirmed++
  const exchange = internalExchange(how.name, isGuard, () => {})
  writeQuery(talk, out, text, exchange)
  return isApart
}
