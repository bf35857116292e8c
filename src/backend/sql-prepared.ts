// Statements that a client names in SQL: PREPARE and a Parse of the protocol share one table of names, so
// what EXECUTE or DEALLOCATE is to find is brought to the server under the client's own name, in front of the
// text (RULES 18). What the text then makes or drops is asked of Postgres afterwards (sql-read-back.ts). It
// keeps no state: names are in OwnNames.
import { Fate, Reply } from '../pool/replies.ts'
import { type Definition, type NamedStatement, PREFIX } from '../session/statements.ts'
import type { VirtualSession } from '../session/virtual-session.ts'
import { type Effects, Touch } from '../sql/effects.ts'
import { Fact } from '../sql/scanner.ts'
import { bind, close, execute, SYNC } from '../wire/messages.ts'
import { FromClient, Status } from '../wire/protocol.ts'
import type { Insight } from './insight.ts'
import { type InternalExchange, internalExchange, namedParse, writeSettings } from './internal.ts'
import { targetMessage } from './names.ts'
import type { Output } from './output.ts'
import { STAND_IN } from './own-names.ts'
import { BRINGING, Brought, HIDDEN, Substitute } from './refs.ts'
import { noteSequences } from './sequences.ts'
import type { Talk } from './talk.ts'
import { noteEffects } from './touched.ts'

/** The statement that runs a PREPARE, and its portal: those without a name are the client's. */
const HELPER = `${PREFIX}prepare`
const RUN = Buffer.concat([bind(HELPER, HELPER, []), execute(HELPER)])
const CLOSE_HELPER = close('S', HELPER)
/** Behind it; one that failed has left its statement. */
const CLOSE_BOTH = Buffer.concat([close('P', HELPER), CLOSE_HELPER])
const DEALLOCATE_ALL = Buffer.from('DEALLOCATE ALL\0\0\0', 'latin1')
const EMPTY_TEXT = Buffer.from([0, 0, 0])
const UNSURE = { definition: null, source: '' }

interface Need {
  readonly name: string
  readonly definition: Definition | typeof STAND_IN
}

export class SqlPrepared {
  readonly #talk: Talk
  readonly #out: Output
  readonly #insight: Insight
  session: VirtualSession | null = null

  constructor(talk: Talk, out: Output, insight: Insight) {
    this.#talk = talk
    this.#out = out
    this.#insight = insight
  }

  /**
   * Brings what a Query with these effects is to find.
   * @returns what the Query tells if that fails, null: nothing can; false: it has to wait
   */
  forQuery(effects: Effects): Substitute | null | false {
    const { facts, touches, uses } = effects
    const isPlain = uses.length === 0 && (touches & Touch.Unknown) === 0 && (facts & Fact.Names) === 0
    if (isPlain || this.session === null) return null
    const failure = new Substitute(null)
    if (!this.#bring(effects, this.#talk.isBatchOpen ? null : failure, null)) return false
    this.#note(effects)
    return failure
  }

  /** The same in the middle of a batch, where an error is the client's. @returns false: it has to wait */
  forParse(effects: Effects): boolean {
    if (effects.uses.length === 0 && (effects.touches & Touch.Unknown) === 0) return true
    return this.#bring(effects, null, null)
  }

  /** The same, for what is about to run. @param statement null: the unnamed one */
  forBind(effects: Effects, statement: NamedStatement | null): boolean {
    if (effects.uses.length === 0 && (effects.facts & Fact.Names) === 0) return true
    if (!this.#bring(effects, null, statement)) return false
    this.#note(effects)
    return true
  }

  /** Brings one PREPARE for a message of the protocol that names it. @returns false: it has to wait */
  forMessage({ name, definition }: NamedStatement): boolean {
    const { names, status } = this.#talk
    if (names.there.get(name)?.definition === definition || names.brought.has(name)) return true
    if (this.#talk.exchanges > 0) return false
    if (status !== Status.Failed) this.#write([{ name, definition }], null)
    return true
  }

  /** `Touch` bits of what runs, what EXECUTE runs among it. */
  touchesOf({ touches, uses }: Effects): number {
    if (uses.length === 0) return touches
    let all = touches
    for (const { how, name } of uses)
      if (how === 'execute') all |= this.#executed(name)?.touches ?? this.#talk.names.stored
    return all
  }

  #bring(effects: Effects, failure: Substitute | null, statement: NamedStatement | null): boolean {
    const talk = this.#talk
    if ((effects.facts & Fact.Names) !== 0 && this.session?.statements.hasLarge === false) {
      return this.#show(failure, statement)
    }
    if (effects.uses.length === 0) {
      this.#bringAll()
      return true
    }
    const needs = this.#needs(effects)
    if (needs.length === 0) return true
    // What is in flight may change what is to be found.
    if (talk.exchanges > 0) return false
    this.#write(needs, failure)
    return true
  }

  #needs({ uses }: Effects): Need[] {
    const { names, status } = this.#talk
    const seen = new Set<string>()
    const needs: Need[] = []
    for (const { how, name } of uses) {
      // Behind a DEALLOCATE ALL nothing is to be found.
      if (name === null) break
      if (seen.has(name) || names.isLive(name) || names.brought.has(name)) continue
      seen.add(name)
      const definition = this.session?.statements.lookup(name)?.definition
      const there = names.there.get(name)?.definition ?? null
      if (definition === undefined || there === definition) continue
      // In a failed transaction nothing but an empty text can be parsed.
      if (how === 'deallocate') {
        if (there === null) needs.push({ name, definition: STAND_IN })
      } else if (!definition.isLarge && status !== Status.Failed) needs.push({ name, definition })
    }
    return needs
  }

  /** For a text that is not understood: it may name any of those that SQL has prepared. */
  #bringAll(): void {
    const talk = this.#talk
    const { session } = this
    if (session === null || !session.statements.hasSql || talk.status !== Status.Idle) return
    if (talk.exchanges > 0 || talk.isBatchOpen) return
    for (const { name, definition } of session.statements.names) {
      const isThere = talk.names.there.get(name)?.definition === definition
      if (definition.isSql && !definition.isLarge && !isThere)
        this.#write([{ name, definition }], new Substitute(null))
    }
  }

  /** Has the server show this client's names and no others. */
  #show(failure: Substitute | null, statement: NamedStatement | null): boolean {
    const talk = this.#talk
    const { session } = this
    if (talk.exchanges > 0) return false
    if (session === null || talk.status === Status.Failed) return true
    this.#hide(failure)
    const all = new Map<string, Definition>()
    for (const { name, definition } of session.statements.names) all.set(name, definition)
    if (statement !== null) all.set(statement.name, statement.definition)
    for (const [name, definition] of all) {
      // One that does not parse any more must not keep the others away; in a transaction it does.
      const isAlone = failure !== null && talk.status === Status.Idle
      this.#writeOne({ name, definition }, isAlone ? new Substitute(null) : failure, false)
    }
    return true
  }

  #hide(failure: Substitute | null): void {
    const talk = this.#talk
    talk.statements.clear()
    talk.parsedInBatch.clear()
    talk.names.clear()
    if (failure === null) this.#run(DEALLOCATE_ALL, Fate.Swallow, HIDDEN)
    else {
      const exchange = this.#exchange(failure, () => hidden(talk))
      this.#run(DEALLOCATE_ALL, Fate.Internal, exchange)
      this.#end(exchange)
    }
  }

  /** @param failure null: in the middle of a batch */
  #write(needs: readonly Need[], failure: Substitute | null): void {
    for (const need of needs) this.#writeOne(need, failure, true)
  }

  #writeOne(need: Need, failure: Substitute | null, withSettings: boolean): void {
    const talk = this.#talk
    const out = this.#out
    const { name, definition } = need
    const wanted = definition === STAND_IN ? null : definition.settings
    const { settings } = this.#sessionOf()
    const isAlike = wanted === null || wanted.parseKey === settings.parseKey
    const [there, back] =
      isAlike || !withSettings ? [[], []] : [wanted.changesFrom(settings), settings.changesFrom(wanted)]
    const source = definition === STAND_IN ? '' : sourceOf(definition)
    const isSure = isAlike || withSettings
    const then = (): void => {
      if (isSure) talk.names.there.set(name, { definition, source })
    }
    talk.names.there.set(name, UNSURE)
    if (failure === null) {
      talk.names.brought.add(name)
      writeSettings(talk, out, there, null)
      this.#writeText(need, Fate.Swallow, new Brought(then))
      writeSettings(talk, out, back, null)
      return
    }
    // For the batch only, which is a transaction: a role that is gone must not fail what comes behind it, and
    // nothing of it can stay.
    const exchange = this.#exchange(failure, then)
    writeSettings(talk, out, there, exchange)
    this.#writeText(need, Fate.Internal, exchange)
    writeSettings(talk, out, back, exchange)
    this.#end(exchange)
  }

  #writeText({ name, definition }: Need, fate: number, ref: Brought | InternalExchange): void {
    const { replies } = this.#talk
    const step = ref instanceof Brought ? BRINGING : ref
    replies.push(Reply.Close | fate, step)
    this.#out.write(targetMessage(FromClient.Close, name))
    if (definition !== STAND_IN && definition.isSql) {
      this.#run(definition.body, fate, ref)
      return
    }
    replies.push(Reply.Parse | fate, ref)
    this.#out.counters.parsesToServers++
    this.#out.write(namedParse(name, definition === STAND_IN ? EMPTY_TEXT : definition.body))
  }

  /** Runs a text without touching the client's unnamed statement and portal. */
  #run(body: Buffer, fate: number, ref: unknown): void {
    const { replies } = this.#talk
    const step = fate === Fate.Internal ? ref : BRINGING
    this.#out.counters.parsesToServers++
    for (const reply of [Reply.Close, Reply.Parse, Reply.Bind]) replies.push(reply | fate, step)
    replies.push(Reply.Execute | fate, ref)
    replies.push(Reply.Close | fate, step)
    replies.push(Reply.Close | fate, step)
    this.#out.write(CLOSE_HELPER)
    this.#out.write(namedParse(HELPER, body))
    this.#out.write(RUN)
    this.#out.write(CLOSE_BOTH)
  }

  #exchange(failure: Substitute, then: () => void): InternalExchange {
    return internalExchange('prepare', false, (_status, { error }) => {
      if (error === null) then()
      else failure.error ??= error
    })
  }

  #end(exchange: InternalExchange): void {
    this.#talk.replies.push(Reply.Sync | Fate.Internal, exchange)
    this.#out.write(SYNC)
  }

  /** The text is sent, to be run: from now on only Postgres knows what its names stand for. */
  #note(effects: Effects): void {
    const talk = this.#talk
    const { names } = talk
    const session = this.#sessionOf()
    if (session.once !== null) return
    const isIgnored = talk.status === Status.Failed && talk.exchanges === 0
    names.stored |= effects.prepared
    for (const { how, name } of effects.uses) {
      if (how === 'execute') this.#noteExecute(name)
      else if (isIgnored) continue
      else if (name === null) names.isAllLive = true
      else {
        names.live.add(name)
        if (how === 'deallocate') names.dropped.add(name)
        else names.under ??= session.settings
      }
    }
  }

  #noteExecute(name: string | null): void {
    const talk = this.#talk
    const session = this.#sessionOf()
    const effects = this.#executed(name)
    if (effects !== null) noteEffects(talk, session, effects)
    else {
      talk.touched |= talk.names.stored
      noteSequences(talk, session, talk.names.stored)
    }
  }

  /** What EXECUTE of the name runs; null: only Postgres knows. */
  #executed(name: string | null): Effects | null {
    if (name === null || this.#talk.names.isLive(name)) return null
    const statement = this.session?.statements.lookup(name)
    return statement === undefined ? null : this.#insight.current(statement.definition)
  }

  #sessionOf(): VirtualSession {
    if (this.session === null) throw new Error('a statement was named on a server without a client')
    return this.session
  }
}

/** Its text as Postgres shows it. */
function sourceOf({ body }: Definition): string {
  return body.toString('latin1', 0, Math.max(0, body.indexOf(0)))
}

/** The server has no prepared statement at all. */
export function hidden(talk: Talk): void {
  talk.statements.clear()
  talk.needsSetup = true
  talk.hasProbes = false
}

/** Takes away what stands under names that are not this session's, or not any more. */
export function closeNames(talk: Talk, out: Output, { statements }: VirtualSession): void {
  const { names } = talk
  names.settle()
  if (names.there.size === 0) return
  const exchange = internalExchange('close names', false, () => {})
  let isSent = false
  for (const [name, { definition }] of names.there) {
    if (definition !== null && statements.lookup(name)?.definition === definition) continue
    names.there.delete(name)
    talk.replies.push(Reply.Close | Fate.Internal, exchange)
    out.write(targetMessage(FromClient.Close, name))
    isSent = true
  }
  if (!isSent) return
  talk.replies.push(Reply.Sync | Fate.Internal, exchange)
  out.write(SYNC)
}
