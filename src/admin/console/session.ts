// One client of the console. It owns the client's stream, its transaction block (a mere word here) and what
// it prepared; commands run one after another, each when the one before has been taken. The right to run a
// command is asked here and only here.
import { malformed } from '../../frontend/refusals.ts'
import type { Visitor } from '../../frontend/types.ts'
import { reportHandlerError } from '../../net/handler-errors.ts'
import type { Refusal } from '../../pool/types.ts'
import type { SecurableStream, StreamHandler } from '../../wire/byte-stream.ts'
import { errorResponse } from '../../wire/error-response.ts'
import {
  CLOSE_COMPLETE,
  commandComplete,
  PARSE_COMPLETE,
  parameterStatus,
  readyForQuery,
} from '../../wire/messages.ts'
import { FromClient } from '../../wire/protocol.ts'
import {
  BIND_COMPLETE,
  dataRow,
  EMPTY_QUERY,
  NO_DATA,
  NO_PARAMETERS,
  PORTAL_SUSPENDED,
  rowDescription,
} from '../../wire/rows.ts'
import { Fields, Inbox, type Message } from './messages.ts'
import { columnsOf, type Portal, Prepared, wantedOf } from './prepared.ts'
import { actInAll, rowsOfAll } from './everywhere.ts'
import { resolveAll } from './resolve.ts'
import {
  type AveragesView,
  type ConsoleClient,
  ConsoleError,
  type ConsoleSource,
  type Operator,
  type Role,
  type Statement,
} from './types.ts'

/** Messages that wait while a command runs; above this the client is not read. */
const WAITING_MAX = 64

/** What a session asks of the console it belongs to. */
export interface SessionHost {
  readonly source: ConsoleSource
  readonly averages: AveragesView
  readonly sessions: readonly ConsoleClient[]
  /** Null: it has no business here (any more). */
  roleOf(user: string): Role | null
  onRefused(session: ConsoleSession, refusal: Refusal): void
  onOver(session: ConsoleSession, reason: string): void
}

const DONE = Promise.resolve()

/** The client has gone: nothing more is to be done for it. */
class Gone extends Error {}

export class ConsoleSession implements StreamHandler, ConsoleClient {
  readonly visitor: Visitor
  readonly connectedAt: number
  requestedAt: number
  applicationName: string
  pid = 0
  readonly #stream: SecurableStream
  readonly #host: SessionHost
  readonly #inbox = new Inbox()
  readonly #prepared = new Prepared()
  #waiting: Message[] = []
  #isRunning = false
  #isOver = false
  /** An error of the extended protocol: everything up to the next Sync is dropped. */
  #isSkipping = false
  #block: 'I' | 'T' | 'E' = 'I'
  #blockedSince = 0
  #drained: PromiseWithResolvers<void> | null = null
  #wait: { isOver: () => boolean; done: PromiseWithResolvers<void> } | null = null

  constructor(stream: SecurableStream, visitor: Visitor, host: SessionHost, applicationName: string) {
    this.#stream = stream
    this.visitor = visitor
    this.#host = host
    this.applicationName = applicationName
    this.connectedAt = this.requestedAt = host.source.time.now
  }

  get peer(): SecurableStream['peer'] {
    return this.#stream.peer
  }

  get unsent(): number {
    return this.#stream.unsent
  }

  get preparedStatements(): number {
    return this.#prepared.size
  }

  // ---- the stream ----

  onData(chunk: Buffer): void {
    if (this.#isOver) return
    this.requestedAt = this.#host.source.time.now
    const messages = this.#inbox.push(chunk)
    // Whoever says goodbye while a command waits does not want it any more.
    if (this.#wait !== null && messages.some(({ type }) => type === FromClient.Terminate)) {
      this.#leave('the client said goodbye')
      return
    }
    this.#waiting.push(...messages)
    if (this.#waiting.length > WAITING_MAX) this.#stream.pause()
    if (this.#inbox.problem === '') void this.#work()
    else this.end(malformed(this.#inbox.type, this.#inbox.problem))
  }

  onDrain(): void {
    this.#blockedSince = 0
    this.#drained?.resolve()
    this.#drained = null
  }

  onEnd(): void {
    this.#leave('the client closed the connection')
  }

  onClose(reason: string): void {
    this.#leave(reason)
  }

  /** Ends the connection with this error. */
  end(refusal: Refusal): void {
    if (this.#isOver) return
    this.#host.onRefused(this, refusal)
    this.#stream.write(errorResponse({ ...refusal, severity: 'FATAL' }))
    this.#leave(refusal.reason)
  }

  /** Only what waits can be cancelled; everything else is done at once. */
  cancelRequest(onOver: () => void): void {
    this.#wait?.done.reject(new ConsoleError('57014', 'canceling statement due to user request'))
    this.#wait = null
    onOver()
  }

  tick(now: number): void {
    if (this.#wait?.isOver() === true) {
      this.#wait.done.resolve()
      this.#wait = null
    }
    const limit = this.#host.source.config.client.writeTimeoutMs
    if (this.#blockedSince === 0 || limit === 0 || now - this.#blockedSince <= limit) return
    this.#leave('client_write_timeout')
    this.#stream.destroy('client_write_timeout')
  }

  #leave(reason: string): void {
    if (this.#isOver) return
    this.#isOver = true
    this.#waiting = []
    this.#wait?.done.reject(new Gone())
    this.#drained?.reject(new Gone())
    this.#wait = this.#drained = null
    this.#stream.end()
    this.#host.onOver(this, reason)
  }

  /** Resolves when the client may get more. */
  #say(bytes: Buffer): Promise<void> {
    if (this.#isOver) throw new Gone()
    if (this.#stream.write(bytes)) return DONE
    this.#blockedSince = this.#host.source.time.now
    this.#drained = Promise.withResolvers()
    return this.#drained.promise
  }

  // ---- messages, one after another ----

  async #work(): Promise<void> {
    if (this.#isRunning) return
    this.#isRunning = true
    try {
      for (;;) {
        const message = this.#waiting.shift()
        if (message === undefined || this.#isOver) break
        await this.#handle(message)
      }
      if (!this.#isOver) this.#stream.resume()
    } catch (thrown) {
      if (!(thrown instanceof Gone)) {
        reportHandlerError(thrown, 'a command of the console')
        this.#leave('internal error')
        this.#stream.destroy('internal error')
      }
    }
    this.#isRunning = false
  }

  async #handle({ type, body }: Message): Promise<void> {
    if (type === FromClient.Terminate) {
      this.#leave('the client said goodbye')
      return
    }
    if (type === FromClient.Sync) {
      this.#isSkipping = false
      if (this.#block === 'I') this.#prepared.dropPortals()
      await this.#say(readyForQuery(this.#block))
      return
    }
    if (this.#isSkipping) return
    const isSimple = type === FromClient.Query || type === FromClient.FunctionCall
    try {
      if (type === FromClient.Query) await this.#query(new Fields(body))
      else if (type === FromClient.FunctionCall)
        throw new ConsoleError('0A000', 'the console has no functions')
      else await this.#extended(type, new Fields(body))
    } catch (thrown) {
      await this.#say(this.#errorOf(thrown))
      if (this.#block === 'T') this.#block = 'E'
      if (!isSimple) this.#isSkipping = true
    }
    if (isSimple) await this.#say(readyForQuery(this.#block))
  }

  /** What is no error of a command goes up. */
  #errorOf(thrown: unknown): Buffer {
    if (thrown instanceof RangeError)
      return errorResponse({ severity: 'ERROR', code: '08P01', message: thrown.message })
    if (!(thrown instanceof ConsoleError)) throw thrown
    const { code, message, hint } = thrown
    return errorResponse({ severity: 'ERROR', code, message, ...(hint === '' ? {} : { hint }) })
  }

  async #query(fields: Fields): Promise<void> {
    const text = fields.text()
    fields.end()
    this.#prepared.dropUnnamed()
    for (const statement of resolveAll(text)) {
      const portal: Portal = { statement, formats: [], rest: null, isDone: false }
      const columns = columnsOf(statement)
      this.#check(statement)
      if (columns.length > 0) await this.#say(rowDescription(columns))
      await this.#execute(portal, 0)
    }
  }

  async #extended(type: number, fields: Fields): Promise<void> {
    const prepared = this.#prepared
    switch (type) {
      case FromClient.Parse: {
        const name = fields.text()
        prepared.parse(name, fields.text(), fields.count())
        return this.#say(PARSE_COMPLETE)
      }
      case FromClient.Bind: {
        const portal = fields.text()
        const statement = fields.text()
        fields.counts()
        const values = fields.count()
        const formats = values > 0 ? [] : fields.counts()
        prepared.bind(portal, { statement, values, formats })
        return this.#say(BIND_COMPLETE)
      }
      case FromClient.Describe:
        return this.#describe(String.fromCharCode(fields.byte()), fields.text())
      case FromClient.Execute: {
        const portal = prepared.portal(fields.text())
        this.#check(portal.statement)
        return this.#execute(portal, fields.int32())
      }
      case FromClient.Close:
        prepared.close(String.fromCharCode(fields.byte()), fields.text())
        return this.#say(CLOSE_COMPLETE)
    }
    // A Flush has nothing to wait for; COPY data without a COPY is passed over, as by Postgres.
  }

  async #describe(kind: string, name: string): Promise<void> {
    if (kind !== 'S' && kind !== 'P') throw new RangeError(`invalid DESCRIBE message subtype ${kind}`)
    const portal = kind === 'P' ? this.#prepared.portal(name) : null
    const columns = columnsOf(portal?.statement ?? this.#prepared.statement(name))
    if (portal === null) await this.#say(NO_PARAMETERS)
    await this.#say(columns.length === 0 ? NO_DATA : rowDescription(columns, portal?.formats ?? []))
  }

  // ---- commands ----

  /** May it be run, by this user and now? The only place where that is asked. */
  #check({ command }: Statement): void {
    const { user } = this.visitor
    const role = this.#host.roleOf(user)
    if (role === null) {
      this.end(notAllowed(user))
      throw new Gone()
    }
    if (command === null) return
    if (command.role === 'admin' && role !== 'admin') {
      const hint = `${command.name} is for the users that admin.users names.`
      throw new ConsoleError('42501', 'admin access needed', hint)
    }
    if (this.#block === 'E' && command.block !== 'end') {
      const text = 'current transaction is aborted, commands ignored until end of transaction block'
      throw new ConsoleError('25P02', text)
    }
  }

  /** @param max rows to send now; 0: all */
  async #execute(portal: Portal, max: number): Promise<void> {
    const { command, argument } = portal.statement
    if (command === null) return this.#say(EMPTY_QUERY)
    const operator = this.#operator()
    if (command.rows === undefined) {
      if (!portal.isDone) await this.#act(portal, operator, argument)
    } else {
      portal.rest ??= wantedOf(portal.statement, await rowsOfAll(command, operator))
      for (let count = 0; !portal.isDone; count++) {
        if (max > 0 && count === max) return this.#say(PORTAL_SUSPENDED)
        const row = portal.rest.next()
        if (row.done === true) portal.isDone = true
        else {
          const said = this.#say(dataRow(columnsOf(portal.statement), row.value, portal.formats))
          if (said !== DONE) await said
        }
      }
    }
    if (command.block !== undefined) this.#block = command.block === 'begin' ? 'T' : 'I'
    await this.#say(commandComplete(command.tag ?? command.name.split(' ')[0]))
  }

  async #act(portal: Portal, operator: Operator, argument: string): Promise<void> {
    const { command } = portal.statement
    portal.isDone = true
    if (command !== null) await actInAll(command, operator, argument)
    if (command === null || command.role !== 'admin') return
    const fields = { user: this.visitor.user, client: this.visitor.address }
    operator.source.note(fields, `console: ${`${command.name} ${argument}`.trimEnd()}`)
  }

  #operator(): Operator {
    const { source, averages, sessions } = this.#host
    return {
      source,
      averages,
      sessions,
      wait: (isOver) => this.#waitFor(isOver),
      setApplicationName: (name) => {
        this.applicationName = name
        this.#stream.write(parameterStatus('application_name', name))
      },
    }
  }

  async #waitFor(isOver: () => boolean): Promise<void> {
    if (isOver()) return
    if (this.#isOver) throw new Gone()
    const done = Promise.withResolvers<void>()
    this.#wait = { isOver, done }
    await done.promise
  }
}

/** A user who may log in, but not here. */
export function notAllowed(user: string): Refusal {
  return {
    severity: 'FATAL',
    code: '42501',
    message: `user "${user}" is not allowed to use the console`,
    hint: 'Name the user in admin.users or admin.stats_users.',
    reason: 'console_not_allowed',
  }
}
