// Messages that name a prepared statement, in modes that share servers: Parse, Bind, Describe, Close. It
// renames, injects what the server lacks, and lets Postgres itself make the errors (RULES 13-16). It keeps no
// state.
import { Sent } from '../pool/lease.ts'
import { Fate, Reply } from '../pool/replies.ts'
import { Definition, type NamedStatement } from '../session/statements.ts'
import { UNNAMED_MAX, type VirtualSession } from '../session/virtual-session.ts'
import { type Effects, NOT_READ } from '../sql/effects.ts'
import type { Framer } from '../wire/framer.ts'
import { close, FLUSH } from '../wire/messages.ts'
import { FromClient, Status } from '../wire/protocol.ts'
import { Fit, fitOf } from './fit.ts'
import { couldHeal } from './healing.ts'
import {
  internalExchange,
  MISSING_NAME,
  namedParse,
  TAKEN_NAME,
  writeDiff,
  writeNamed,
  writeParse,
  writeSettings,
} from './internal.ts'
import type { Output } from './output.ts'
import type { Insight } from './insight.ts'
import { fullName, nameOf, targetMessage } from './names.ts'
import {
  NamedClose,
  NamedParse,
  NameFix,
  Substitute,
  UNNAMED_CLOSE,
  UnnamedFix,
  UnnamedParse,
} from './refs.ts'
import { notOwnSequence, outgrown, statementsFull } from './refusals.ts'
import { mayRead } from './sequences.ts'
import type { Talk } from './talk.ts'
import { noteBind } from './touched.ts'

const HEADER = 5
const CLOSE_UNNAMED = close('S', '')
const EMPTY_TEXT = Buffer.from([0, 0, 0])
/** The body of a Parse that fails in every state of a server. */
const BROKEN_TEXT = Buffer.from(')\0\0\0', 'latin1')
const STATEMENT = 0x53
/** A statement that is not in the registry: nobody else ever finds it. */
const LARGE = { key: '', parseKey: 0 }

export class NamedRequests {
  readonly #talk: Talk
  readonly #out: Output
  readonly #insight: Insight
  /** Of the body of a Parse message. */
  readonly #effectsOf = (body: Buffer): Effects => this.#insight.ofBody(body, this.#sessionOf().settings)
  #session: VirtualSession | null = null
  #largeId = 0
  /** Of the last Bind: a description of its portal is one of the statement. */
  #bound: NamedStatement | null = null

  constructor(talk: Talk, out: Output, insight: Insight) {
    this.#talk = talk
    this.#out = out
    this.#insight = insight
  }

  set session(session: VirtualSession | null) {
    this.#session = session
    // The name in it is the client's, and would be told to the next.
    this.#bound = null
  }

  /** Bind, Describe or Close. */
  send(framer: Framer, type: number): number {
    if (type === FromClient.Bind) return this.#bind(framer)
    if (framer.src[framer.start + HEADER] !== STATEMENT) {
      // A portal: Postgres' own business.
      if (type === FromClient.Close) return this.#asIs(framer, Reply.Close, null)
      return this.#asIs(framer, Reply.DescribePortal, this.#bound)
    }
    return type === FromClient.Close ? this.#close(framer) : this.#describe(framer)
  }

  /** Parse. */
  parse(framer: Framer): number {
    const { src, start, stop } = framer
    const nameStop = src.indexOf(0, start + HEADER)
    // Without an end of its name Postgres refuses it, whatever follows.
    if (nameStop < 0 || nameStop >= stop)
      return framer.rest > 0 ? Sent.Refuse : this.#asIs(framer, Reply.Parse, null)
    if (nameStop === start + HEADER) return this.#parseUnnamed(framer, nameStop + 1)
    const name = nameOf(src, start + HEADER, nameStop)
    const session = this.#sessionOf()
    if (session.statements.isUncertain(name, this.#talk.batch)) return Sent.Hold
    if (session.statements.lookup(name) !== undefined) {
      return this.#renamed(
        framer,
        nameStop + 1,
        TAKEN_NAME,
        new NameFix(fullName(src, start + HEADER, nameStop), TAKEN_NAME),
      )
    }
    if (framer.rest > 0) return this.#parseLarge(framer, name, nameStop + 1)
    const body = src.subarray(nameStop + 1, stop)
    const definition = session.statements.define(body, this.#parseKey(), this.#effectsOf)
    if (definition === null) {
      this.refuse(statementsFull())
      return Sent.Taken
    }
    if (definition.parseKey !== 0) definition.settings ??= session.settings
    const change = session.statements.sentParse(name, definition, this.#talk.batch)
    this.#parseDefinition(new NamedParse(change, definition), framer)
    return Sent.Taken
  }

  /**
   * Sends the Parse, or makes up its answer where the server has the statement, nothing can fail before, and
   * nobody would notice if it turned out to be outgrown.
   */
  #parseDefinition(ref: NamedParse, framer: Framer): void {
    const talk = this.#talk
    const { definition } = ref
    // With exchanges in flight the status and the statements at our turn are not known yet (RULES 14).
    const isKnown = talk.exchanges === 0 && !talk.isBatchOpen && talk.status === Status.Idle
    if (isKnown && talk.statements.isFresh(definition.id) && couldHeal(framer)) {
      talk.statements.touch(definition)
      if (!talk.replies.push(Reply.Parse | Fate.Insert, ref))
        this.#sessionOf().statements.withdraw(ref.change)
      return
    }
    this.#out.write(close('S', definition.name))
    writeNamed(this.#out, definition.name, definition.body)
    talk.replies.push(Reply.Close | Fate.Swallow, definition)
    if (talk.replies.push(Reply.Parse, ref)) talk.parsedInBatch.add(definition.id)
    else this.#sessionOf().statements.withdraw(ref.change)
  }

  #parseUnnamed(framer: Framer, bodyStart: number): number {
    const talk = this.#talk
    const session = this.#sessionOf()
    const unnamed = session.takeUnnamed()
    // A session of one request never comes to another server with it.
    if (framer.rest > 0 || framer.stop - bodyStart > UNNAMED_MAX || session.once !== null) unnamed.setLarge()
    else unnamed.set(framer.src, bodyStart, framer.stop)
    const ref = new UnnamedParse(unnamed)
    ref.version = talk.changesUnnamed(session, talk.replies.push(Reply.Parse, ref))
    this.#out.counters.parsesToServers++
    this.#out.forward(framer.src, framer.start, framer.stop)
    return Sent.Taken
  }

  /** Too long to be kept: it exists on this server only, and the client stays there (large_statement). */
  #parseLarge(framer: Framer, name: string, bodyStart: number): number {
    const session = this.#sessionOf()
    const definition = new Definition(this.#largeId--, Buffer.alloc(0), NOT_READ, LARGE)
    const change = session.statements.sentParse(name, definition, this.#talk.batch)
    return this.#renamed(framer, bodyStart, definition.name, new NamedParse(change, definition))
  }

  /** A Parse under another name, its body as it comes. */
  #renamed(framer: Framer, bodyStart: number, name: string, ref: NameFix | NamedParse): number {
    const head = Buffer.allocUnsafe(HEADER + name.length + 1)
    head[0] = FromClient.Parse
    head.writeInt32BE(4 + name.length + 1 + (framer.stop - bodyStart) + framer.rest, 1)
    head.write(name, HEADER, 'latin1')
    head[HEADER + name.length] = 0
    this.#out.counters.parsesToServers++
    this.#out.write(head)
    this.#out.forward(framer.src, bodyStart, framer.stop)
    if (!this.#talk.replies.push(Reply.Parse, ref) && ref instanceof NamedParse) {
      this.#sessionOf().statements.withdraw(ref.change)
    }
    return Sent.Taken
  }

  #bind(framer: Framer): number {
    const { src, start, stop } = framer
    const portalStop = src.indexOf(0, start + HEADER)
    const nameStart = portalStop + 1
    const nameStop = portalStop < 0 ? -1 : src.indexOf(0, nameStart)
    if (nameStop < 0 || nameStop >= stop)
      return framer.rest > 0 ? Sent.Refuse : this.#asIs(framer, Reply.Bind, null)
    if (nameStop === nameStart) {
      if (!this.#ensureUnnamed()) return Sent.Hold
      this.#bound = null
      noteBind(this.#talk, this.#session, this.#sessionOf().unnamedEffects, framer)
      return this.#asIs(framer, Reply.Bind, null)
    }
    const name = nameOf(src, nameStart, nameStop)
    const statement = this.#sessionOf().statements.lookup(name)
    if (this.#mustWait(name, statement)) return Sent.Hold
    if (statement !== undefined) {
      const fit = fitOf(this.#talk, statement, framer)
      if (fit === Fit.Ask) return this.#ask(statement)
      if (fit === Fit.No) {
        this.refuse(outgrown())
        return Sent.Taken
      }
    }
    if (statement !== undefined && !this.#mayRead(this.#insight.current(statement.definition))) {
      this.refuse(notOwnSequence())
      return Sent.Taken
    }
    this.#bound = statement ?? null
    const serverName = statement === undefined ? MISSING_NAME : this.#ensure(statement)
    if (this.#talk.mayBeInside && statement?.definition.mayEndTransaction) this.#talk.endsTransaction = true
    if (statement !== undefined)
      noteBind(this.#talk, this.#session, this.#insight.current(statement.definition), framer)
    this.#talk.replies.push(
      Reply.Bind,
      statement === undefined ? new NameFix(fullName(src, nameStart, nameStop), MISSING_NAME) : statement,
    )
    // Header, portal and our name in a message of our own; parameters as they come.
    const portalLength = portalStop - start - HEADER
    const head = Buffer.allocUnsafe(HEADER + portalLength + 1 + serverName.length + 1)
    head[0] = FromClient.Bind
    head.writeInt32BE(4 + portalLength + 2 + serverName.length + (stop - nameStop - 1) + framer.rest, 1)
    src.copy(head, HEADER, start + HEADER, nameStart)
    head.write(serverName, HEADER + portalLength + 1, 'latin1')
    head[head.length - 1] = 0
    this.#out.write(head)
    this.#out.forward(src, nameStop + 1, stop)
    return Sent.Taken
  }

  #mayRead(effects: Effects): boolean {
    return mayRead({ talk: this.#talk, out: this.#out }, this.#sessionOf(), this.#insight, effects)
  }

  #describe(framer: Framer): number {
    const { src, start, stop } = framer
    const nameStop = src.indexOf(0, start + HEADER + 1)
    if (nameStop !== stop - 1) return this.#asIs(framer, Reply.DescribeStatement, null)
    if (nameStop === start + HEADER + 1) {
      if (!this.#ensureUnnamed()) return Sent.Hold
      return this.#asIs(framer, Reply.DescribeStatement, null)
    }
    const name = nameOf(src, start + HEADER + 1, nameStop)
    const statement = this.#sessionOf().statements.lookup(name)
    if (this.#mustWait(name, statement)) return Sent.Hold
    const serverName = statement === undefined ? MISSING_NAME : this.#ensure(statement)
    this.#talk.replies.push(
      Reply.DescribeStatement,
      statement === undefined
        ? new NameFix(fullName(src, start + HEADER + 1, nameStop), MISSING_NAME)
        : statement,
    )
    this.#out.write(targetMessage(FromClient.Describe, serverName))
    return Sent.Taken
  }

  /** Other clients use the server's copy, so a named Close ends here; Postgres' answer to it never varies. */
  #close(framer: Framer): number {
    const { src, start, stop } = framer
    const talk = this.#talk
    const session = this.#sessionOf()
    const nameStop = src.indexOf(0, start + HEADER + 1)
    if (nameStop !== stop - 1) return this.#asIs(framer, Reply.Close, null)
    if (nameStop === start + HEADER + 1) {
      talk.changesUnnamed(session, !talk.replies.isSkipping)
      return this.#asIs(framer, Reply.Close, UNNAMED_CLOSE)
    }
    const name = nameOf(src, start + HEADER + 1, nameStop)
    const statement = session.statements.lookup(name)
    if (this.#mustWait(name, statement)) return Sent.Hold
    if (statement === undefined) {
      // Nothing changes, whatever becomes of the batch.
      talk.replies.push(Reply.Close | Fate.Insert, null)
      return Sent.Taken
    }
    const change = session.statements.sentClose(name, talk.batch)
    if (statement.definition.isLarge) {
      if (!talk.replies.push(Reply.Close, new NamedClose(change))) session.statements.withdraw(change)
      this.#out.write(close('S', statement.definition.name))
      return Sent.Taken
    }
    if (!talk.replies.push(Reply.Close | Fate.Insert, new NamedClose(change)))
      session.statements.withdraw(change)
    return Sent.Taken
  }

  /** Brings the statement to the server if it is not known to be there. @returns its name there. */
  #ensure(statement: NamedStatement): string {
    const talk = this.#talk
    const { definition } = statement
    if (definition.isLarge || talk.parsedInBatch.has(definition.id)) return definition.name
    if (talk.statements.has(definition.id)) {
      talk.statements.touch(definition)
      return definition.name
    }
    const session = this.#sessionOf()
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
      writeSettings(talk, this.#out, there)
      this.#inject(definition)
      writeSettings(talk, this.#out, back)
    }
    return definition.name
  }

  /** Has Postgres describe the statement on this server; the client's message waits for that. */
  #ask(statement: NamedStatement): number {
    const talk = this.#talk
    // What it has may be outgrown.
    talk.statements.delete(statement.definition.id)
    const name = this.#ensure(statement)
    talk.replies.push(Reply.DescribeStatement | Fate.Swallow, statement.definition)
    this.#out.write(targetMessage(FromClient.Describe, name))
    this.#out.write(FLUSH)
    this.#out.flush()
    talk.isBatchOpen = talk.isFlushed = talk.isAsking = true
    talk.asked = statement.definition
    return Sent.Hold
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
  #ensureUnnamed(): boolean {
    const talk = this.#talk
    const session = this.#sessionOf()
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

  /**
   * Does a message that uses this name have to wait? While a settings diff is not confirmed, nothing that
   * could end its failed transaction may follow (RULES 1); and what the name stands for may depend on
   * answers to come.
   */
  #mustWait(name: string, statement: NamedStatement | undefined): boolean {
    const talk = this.#talk
    if (talk.unconfirmed > 0 && statement?.definition.mayEndTransaction === true) return true
    return talk.exchanges > 0 && this.#sessionOf().statements.isUncertain(name, talk.batch)
  }

  /** Behind exchanges in flight the settings at our turn are not known: nobody shares such a statement. */
  #parseKey(): number {
    const talk = this.#talk
    const isKnown = talk.exchanges === 0 && !talk.hasExecuted
    return isKnown ? this.#sessionOf().settings.parseKey : 0
  }

  /** Has Postgres make an error at this place of the batch; the client reads other words. */
  refuse(error: Buffer): void {
    // Where a reset took our statements, no name is taken for certain.
    this.#out.write(this.#talk.needsSetup ? namedParse('', BROKEN_TEXT) : namedParse(TAKEN_NAME, EMPTY_TEXT))
    this.#talk.replies.push(Reply.Parse, new Substitute(error))
  }

  #asIs(framer: Framer, reply: number, ref: unknown): number {
    this.#talk.replies.push(reply, ref)
    this.#out.forward(framer.src, framer.start, framer.stop)
    return Sent.Taken
  }

  #sessionOf(): VirtualSession {
    if (this.#session === null) throw new Error('a statement was named on a server without a client')
    return this.#session
  }
}
