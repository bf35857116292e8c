// Messages that name a prepared statement, in modes that share servers: Parse, Bind, Describe, Close. It
// renames, injects what the server lacks, and lets Postgres itself make the errors (RULES 13-16). It keeps no
// state.
import { Sent } from '../pool/lease.ts'
import { Fate, Reply } from '../pool/replies.ts'
import { Definition, type NamedStatement, PREFIX } from '../session/statements.ts'
import { UNNAMED_MAX, type VirtualSession } from '../session/virtual-session.ts'
import { type Effects, NOT_READ, READS_ANEW, Touch } from '../sql/effects.ts'
import type { Shape } from '../sql/shapes.ts'
import type { Framer } from '../wire/framer.ts'
import { close, FLUSH } from '../wire/messages.ts'
import { FromClient, Status } from '../wire/protocol.ts'
import { Bringing } from './bringing.ts'
import { Fit, fitOf } from './fit.ts'
import { couldHeal } from './healing.ts'
import type { Insight } from './insight.ts'
import { MISSING_NAME, TAKEN_NAME, writeNamed } from './internal.ts'
import type { Output } from './output.ts'
import { bindHead, fullName, nameOf, targetMessage } from './names.ts'
import { NamedClose, NamedParse, NameFix, UNNAMED_CLOSE, UnnamedParse } from './refs.ts'
import { refusedText } from './pinning.ts'
import { notOwnSequence, outgrown, statementsFull, taken } from './refusals.ts'
import { refuseMessage } from './refusing.ts'
import { shapeOfDefinition } from './running.ts'
import { mayRead } from './sequences.ts'
import { SqlPrepared } from './sql-prepared.ts'
import type { Talk } from './talk.ts'
import { noteBind } from './touched.ts'

const HEADER = 5
const STATEMENT = 0x53
/** A statement that is not in the registry: nobody else ever finds it. */
const LARGE = { key: '', parseKey: 0 }

export class NamedRequests {
  readonly #talk: Talk
  readonly #out: Output
  readonly #insight: Insight
  /** Of the body of a Parse message. */
  readonly #effectsOf = (body: Buffer): Effects => this.#insight.ofBody(body, this.#sessionOf().settings)
  readonly #bringing: Bringing
  /** For texts that name statements. */
  readonly sql: SqlPrepared
  #session: VirtualSession | null = null
  #largeId = 0
  /** Of the last Bind: a description of its portal is one of the statement. */
  #bound: NamedStatement | null = null

  constructor(talk: Talk, out: Output, insight: Insight) {
    this.#talk = talk
    this.#out = out
    this.#insight = insight
    this.#bringing = new Bringing(talk, out)
    this.sql = new SqlPrepared(talk, out, insight)
  }

  set session(session: VirtualSession | null) {
    this.#session = this.sql.session = session
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

  /** What the statement of this Bind may leave behind; null: nobody knows such a statement. */
  effectsOfBind({ src, start, stop }: Framer): Effects | null {
    const nameStart = src.indexOf(0, start + HEADER) + 1
    const nameStop = nameStart === 0 ? -1 : src.indexOf(0, nameStart)
    if (nameStop < 0 || nameStop >= stop) return null
    if (nameStop === nameStart) return this.#sessionOf().unnamedEffects
    const statement = this.#sessionOf().statements.lookup(nameOf(src, nameStart, nameStop))
    return statement === undefined ? null : this.#insight.current(statement.definition)
  }

  /** Parse. @param effects of its text */
  parse(framer: Framer, effects: Effects): number {
    if (!this.sql.forParse(effects)) return Sent.Hold
    const { src, start, stop } = framer
    const nameStop = src.indexOf(0, start + HEADER)
    // Without an end of its name Postgres refuses it, whatever follows.
    if (nameStop < 0 || nameStop >= stop)
      return framer.rest > 0 ? Sent.Refuse : this.#asIs(framer, Reply.Parse, null)
    if (nameStop === start + HEADER) return this.#parseUnnamed(framer, nameStop + 1)
    const name = nameOf(src, start + HEADER, nameStop)
    const session = this.#sessionOf()
    if (this.#talk.names.isLive(name) && !name.startsWith(PREFIX)) {
      this.#talk.names.stored |= effects.touches
      this.#out.counters.parsesToServers++
      return this.#asIs(framer, Reply.Parse, null)
    }
    if (session.statements.isUncertain(name, this.#talk.batch)) return Sent.Hold
    if (session.statements.lookup(name) !== undefined) {
      if (this.#talk.needsSetup && framer.rest === 0) return this.#refuse(framer, taken(name))
      return this.#renamed(
        framer,
        nameStop + 1,
        TAKEN_NAME,
        new NameFix(fullName(src, start + HEADER, nameStop), TAKEN_NAME),
      )
    }
    if (framer.rest > 0) return this.#parseLarge(framer, name, nameStop + 1)
    const body = src.subarray(nameStop + 1, stop)
    // What a text that runs a client's names gives is its client's alone.
    const parseKey = effects.uses.length > 0 ? 0 : this.#parseKey()
    const definition = session.statements.define(body, parseKey, this.#effectsOf)
    if (definition === null) return this.#refuse(framer, statementsFull())
    if (definition.parseKey !== 0) definition.settings ??= session.settings
    const change = session.statements.sentParse(name, definition, this.#talk.batch)
    const ref = new NamedParse(change, definition)
    ref.isBehind = this.#talk.hasExecuted
    this.#parseDefinition(ref, framer)
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
    ref.isBehind = talk.hasExecuted
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
      const { unnamedEffects } = this.#sessionOf()
      const refusal = refusedText(this.#session, this.sql.touchesOf(unnamedEffects))
      if (refusal !== null) return this.#refuse(framer, refusal)
      if (!this.#bringChannels(unnamedEffects)) return Sent.Hold
      if (!this.sql.forBind(unnamedEffects, null)) return Sent.Hold
      if (!this.#bringing.ensureUnnamed(this.#sessionOf())) return Sent.Hold
      this.#bound = null
      this.#runs(this.#sessionOf().unnamedShape)
      noteBind(this.#talk, this.#session, unnamedEffects, framer)
      return this.#asIs(framer, Reply.Bind, null)
    }
    const name = nameOf(src, nameStart, nameStop)
    if (this.#isLive(name)) {
      this.#bound = null
      this.#runs(null)
      this.#talk.touched |= this.#talk.names.stored
      return this.#asIs(framer, Reply.Bind, null)
    }
    const statement = this.#sessionOf().statements.lookup(name)
    if (this.#mustWait(name, statement)) return Sent.Hold
    if (statement !== undefined) {
      if (!this.#bringSql(statement)) return Sent.Hold
      const fit = fitOf(this.#talk, statement, framer)
      if (fit === Fit.Ask) return this.#ask(statement)
      if (fit === Fit.No) return this.#refuse(framer, outgrown())
      const touches = this.sql.touchesOf(this.#insight.current(statement.definition))
      const refusal = this.#mayRead(touches) ? refusedText(this.#session, touches) : notOwnSequence()
      if (refusal !== null) return this.#refuse(framer, refusal)
    }
    this.#bound = statement?.definition.isSql === false ? statement : null
    if (statement !== undefined && !this.#bringChannels(this.#insight.current(statement.definition)))
      return Sent.Hold
    const serverName = this.#nameOnServer(statement)
    this.#runs(
      statement === undefined
        ? null
        : shapeOfDefinition(this.#insight, this.#sessionOf(), statement.definition),
    )
    if (this.#talk.mayBeInside && statement?.definition.mayEndTransaction) this.#talk.endsTransaction = true
    if (statement !== undefined)
      noteBind(this.#talk, this.#session, this.#insight.current(statement.definition), framer)
    this.#talk.replies.push(
      Reply.Bind,
      statement === undefined ? new NameFix(fullName(src, nameStart, nameStop), MISSING_NAME) : this.#bound,
    )
    // Header, portal and our name in a message of our own; parameters as they come.
    this.#out.write(bindHead(framer, nameStart, nameStop, serverName))
    this.#out.forward(src, nameStop + 1, stop)
    return Sent.Taken
  }

  /** The portal runs this from now on; null: nobody knows. */
  #runs(shape: Shape | null): void {
    this.#talk.shape = this.#talk.bound = shape ?? this.#insight.shapes.others
  }

  /** What is to be run may depend on them. @returns false: it has to wait */
  #bringChannels(effects: Effects): boolean {
    return this.#session?.mail === null || this.#talk.channels?.prepare(effects, true) !== false
  }

  #mayRead(touches: number): boolean {
    return mayRead({ talk: this.#talk, out: this.#out }, this.#sessionOf(), this.#insight, touches)
  }

  #describe(framer: Framer): number {
    const { src, start, stop } = framer
    const nameStop = src.indexOf(0, start + HEADER + 1)
    if (nameStop !== stop - 1) return this.#asIs(framer, Reply.DescribeStatement, null)
    if (nameStop === start + HEADER + 1) {
      if (!this.sql.forParse(this.#sessionOf().unnamedEffects)) return Sent.Hold
      if (!this.#bringing.ensureUnnamed(this.#sessionOf())) return Sent.Hold
      return this.#asIs(framer, Reply.DescribeStatement, null)
    }
    const name = nameOf(src, start + HEADER + 1, nameStop)
    if (this.#isLive(name)) return this.#asIs(framer, Reply.DescribeStatement, null)
    const statement = this.#sessionOf().statements.lookup(name)
    if (this.#mustWait(name, statement)) return Sent.Hold
    if (statement !== undefined && !this.#bringSql(statement)) return Sent.Hold
    const serverName = this.#nameOnServer(statement)
    const ref = statement?.definition.isSql === true ? null : statement
    this.#talk.replies.push(
      Reply.DescribeStatement,
      ref === undefined ? new NameFix(fullName(src, start + HEADER + 1, nameStop), MISSING_NAME) : ref,
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
    if (this.#isLive(name)) return this.#asIs(framer, Reply.Close, null)
    const statement = session.statements.lookup(name)
    if (this.#mustWait(name, statement)) return Sent.Hold
    if (statement === undefined) {
      // Nothing changes, whatever becomes of the batch.
      talk.replies.push(Reply.Close | Fate.Insert, null)
      return Sent.Taken
    }
    const change = session.statements.sentClose(name, talk.batch)
    const isLarge = statement.definition.isLarge
    // What SQL finds of it goes, too.
    if (isLarge || talk.names.there.has(name)) {
      if (!talk.replies.push(Reply.Close, new NamedClose(change))) session.statements.withdraw(change)
      this.#out.write(targetMessage(FromClient.Close, isLarge ? statement.definition.name : name))
      return Sent.Taken
    }
    if (!talk.replies.push(Reply.Close | Fate.Insert, new NamedClose(change)))
      session.statements.withdraw(change)
    return Sent.Taken
  }

  /** Has Postgres describe the statement on this server; the client's message waits for that. */
  #ask(statement: NamedStatement): number {
    const talk = this.#talk
    // What it has may be outgrown.
    talk.statements.delete(statement.definition.id)
    const name = this.#bringing.ensure(statement, this.#sessionOf())
    talk.replies.push(Reply.DescribeStatement | Fate.Swallow, statement.definition)
    this.#out.write(targetMessage(FromClient.Describe, name))
    this.#out.write(FLUSH)
    this.#out.flush()
    talk.isBatchOpen = talk.isFlushed = talk.isAsking = true
    talk.asked = statement.definition
    return Sent.Hold
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

  /**
   * Behind exchanges in flight, and in a transaction that has changed what is only read back at its end, the
   * settings at our turn are not known: nobody shares such a statement.
   */
  #parseKey(): number {
    const talk = this.#talk
    const isKnown = talk.exchanges === 0 && !talk.hasExecuted && (talk.touched & READS_ANEW) === 0
    return isKnown ? this.#sessionOf().settings.parseKey : 0
  }

  /** Does the name stand for what only Postgres knows? Names like ours never do. */
  #isLive(name: string): boolean {
    const { names, touched } = this.#talk
    if (name.startsWith(PREFIX)) return false
    if (names.isLive(name)) return true
    return (touched & Touch.Unknown) !== 0 && this.#sessionOf().statements.lookup(name) === undefined
  }

  /** Brings what the statement finds by name, and a PREPARE itself. @returns false: it has to wait */
  #bringSql(statement: NamedStatement): boolean {
    const { definition } = statement
    if (definition.isSql) return this.sql.forMessage(statement)
    return this.sql.forBind(this.#insight.current(definition), statement)
  }

  #nameOnServer(statement: NamedStatement | undefined): string {
    if (statement === undefined) return MISSING_NAME
    const { name, definition } = statement
    // What shows names has to be one of them.
    if (definition.isSql || this.#talk.names.brought.has(name)) return name
    return this.#bringing.ensure(statement, this.#sessionOf())
  }

  #refuse(framer: Framer, error: Buffer): number {
    refuseMessage({ talk: this.#talk, out: this.#out }, framer, error)
    return Sent.Taken
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
