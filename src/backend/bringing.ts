// Brings the statements of a client to its server, in front of the message that needs them: under our names,
// and the unnamed one (RULES 13, 16). What SQL has prepared is brought by sql-prepared.ts. It keeps no state.
import { Fate, Reply } from '../pool/replies.ts'
import type { Definition, NamedStatement } from '../session/statements.ts'
import type { VirtualSession } from '../session/virtual-session.ts'
import { close } from '../wire/messages.ts'
import { Status } from '../wire/protocol.ts'
import { internalExchange, writeDiff, writeNamed, writeParse, writeSettings } from './internal.ts'
import type { Output } from './output.ts'
import { UnnamedFix } from './refs.ts'
import type { Talk } from './talk.ts'

const CLOSE_UNNAMED = close('S', '')

export class Bringing {
  readonly #talk: Talk
  readonly #out: Output

  constructor(talk: Talk, out: Output) {
    this.#talk = talk
    this.#out = out
  }

  /** Brings the statement to the server if it is not known to be there. @returns its name there. */
  ensure(statement: NamedStatement, session: VirtualSession): string {
    const talk = this.#talk
    const { definition } = statement
    if (definition.isLarge || talk.parsedInBatch.has(definition.id)) return definition.name
    if (talk.statements.has(definition.id)) {
      talk.statements.touch(definition)
      return definition.name
    }
    const wanted = definition.settings
    // In a failed transaction only texts that depend on no setting can be parsed.
    if (wanted === null || wanted.parseKey === session.settings.parseKey || talk.status === Status.Failed) {
      this.#inject(definition)
      return definition.name
    }
    const there = wanted.changesFrom(session.settings)
    const back = session.settings.changesFrom(wanted)
    if (talk.status === Status.Idle && talk.exchanges === 0 && !talk.isBatchOpen) {
      const guard = internalExchange('settings of a statement', true, () => {})
      writeDiff(talk, this.#out, there, guard)
      writeParse(talk, this.#out, definition)
      writeDiff(talk, this.#out, back, guard)
    } else {
      writeSettings(talk, this.#out, there, null)
      this.#inject(definition)
      writeSettings(talk, this.#out, back, null)
    }
    return definition.name
  }

  #inject(definition: Definition): void {
    const talk = this.#talk
    this.#out.write(close('S', definition.name))
    writeNamed(this.#out, definition.name, definition.body)
    talk.replies.push(Reply.Close | Fate.Swallow, definition)
    if (talk.replies.push(Reply.Parse | Fate.Swallow, definition)) talk.parsedInBatch.add(definition.id)
  }

  /**
   * Makes the server's unnamed statement the client's own: its text, or none.
   * @returns false while that depends on answers that are still to come.
   */
  ensureUnnamed(session: VirtualSession): boolean {
    const talk = this.#talk
    if (talk.isUnnamedInBatch || talk.hasUnnamedOf(session)) return true
    if (talk.exchanges > 0) return false
    const { unnamed, unnamedVersion } = session
    const ref = new UnnamedFix(unnamedVersion)
    let isSent: boolean
    if (unnamed === null || unnamed.isLarge) {
      this.#out.write(CLOSE_UNNAMED)
      isSent = talk.replies.push(Reply.Close | Fate.Swallow, ref)
    } else {
      writeNamed(this.#out, '', unnamed.body.subarray(0, unnamed.length))
      isSent = talk.replies.push(Reply.Parse | Fate.Swallow, ref)
    }
    talk.isUnnamedInBatch = true
    talk.unnamedOf = isSent && !talk.isBatchOpen ? session : null
    talk.unnamedVersion = unnamedVersion
    return true
  }
}
