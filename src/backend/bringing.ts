// Brings the statements of a client to its server, in front of the message that needs them: under our names,
// and the unnamed one (RULES 13, 16). What SQL has prepared is brought by sql-prepared.ts. It keeps no state.
import { Fate, Reply } from '../pool/replies.ts'
import type { Definition, NamedStatement } from '../session/statements.ts'
import type { Settings } from '../session/settings.ts'
import type { Unnamed, VirtualSession } from '../session/virtual-session.ts'
import { Touch } from '../sql/effects.ts'
import { close } from '../wire/messages.ts'
import { Status } from '../wire/protocol.ts'
import {
  internalExchange,
  writeDiff,
  writeNamed,
  writeParse,
  writeSettings,
  writeUnnamed,
} from './internal.ts'
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
      // Postgres may plan it now, and what it makes of constants stays in the plan.
      const isOwn = definition.parseKey === 0
      if (isOwn || (talk.touched & Touch.Reading) === 0) talk.statements.touch(definition)
      else talk.statements.spoil(definition)
      return definition.name
    }
    const wanted = definition.settings
    // In a failed transaction only texts that depend on no setting can be parsed.
    if (wanted === null || wanted.parseKey === session.settings.parseKey || talk.status === Status.Failed) {
      this.#inject(definition)
      return definition.name
    }
    this.#under(
      wanted,
      session.settings,
      () => writeParse(talk, this.#out, definition),
      () => this.#inject(definition),
    )
    return definition.name
  }

  /**
   * Parses under other settings than the present ones.
   * @param apart in an exchange of our own
   * @param within in the middle of what the client does
   */
  #under(wanted: Settings, present: Settings, apart: () => void, within: () => void): void {
    const talk = this.#talk
    const there = wanted.changesFrom(present)
    const back = present.changesFrom(wanted)
    if (talk.status === Status.Idle && talk.exchanges === 0 && !talk.isBatchOpen) {
      const guard = internalExchange('settings of a statement', true, () => {})
      writeDiff(talk, this.#out, there, guard)
      apart()
      writeDiff(talk, this.#out, back, guard)
    } else {
      writeSettings(talk, this.#out, there, null)
      within()
      writeSettings(talk, this.#out, back, null)
    }
  }

  #inject(definition: Definition): void {
    const talk = this.#talk
    this.#out.write(close('S', definition.name))
    writeNamed(this.#out, definition.name, definition.bodyNow)
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
    } else isSent = this.#injectUnnamed(unnamed, session, ref)
    talk.isUnnamedInBatch = true
    talk.unnamedOf = isSent && !talk.isBatchOpen ? session : null
    talk.unnamedVersion = unnamedVersion
    return true
  }

  /** @returns whether it is on its way for certain */
  #injectUnnamed({ body, length, settings }: Unnamed, session: VirtualSession, ref: UnnamedFix): boolean {
    const talk = this.#talk
    const text = body.subarray(0, length)
    const inject = (): boolean => {
      writeNamed(this.#out, '', text)
      return talk.replies.push(Reply.Parse | Fate.Swallow, ref)
    }
    const isAlike = settings === null || settings.parseKey === session.settings.parseKey
    if (isAlike || talk.status === Status.Failed) return inject()
    const onDone = (isThere: boolean): void => {
      if (isThere) talk.confirmUnnamed(session, ref.version)
      else talk.unnamedOf = null
    }
    const apart = () => writeUnnamed(talk, this.#out, text, onDone)
    this.#under(settings, session.settings, apart, inject)
    return true
  }
}
