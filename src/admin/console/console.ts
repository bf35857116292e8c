// The console: takes clients in, keeps them, ends them. It owns the list of its clients and their number;
// what they may do is in the table of commands. They are in no pool and count for no limit but their own, so
// that an operator gets in when everything else is full.
import type { ConsoleDoor, ConsoleVisit } from '../../frontend/console-door.ts'
import { tooManyClients } from '../../frontend/refusals.ts'
import type { Refusal } from '../../pool/types.ts'
import { backendKeyData, parameterStatus, READY_IDLE } from '../../wire/messages.ts'
import { toText } from '../../wire/startup.ts'
import { Averages } from './averages.ts'
import { TOLD } from './drivers.ts'
import { Elsewhere } from './elsewhere.ts'
import { roleIn } from './roles.ts'
import { ConsoleSession, notAllowed, type SessionHost } from './session.ts'
import type { ConsoleSource, Role } from './types.ts'

const CLIENTS_MAX = 100
/** Drivers decide by it what they may use: the oldest Postgres that is supported. */
const LIKE_POSTGRES = '13.0'

export class Console implements ConsoleDoor, SessionHost {
  readonly source: ConsoleSource
  readonly averages: Averages
  /** For the clients of other processes. */
  readonly elsewhere = new Elsewhere(() => this)
  readonly #sessions = new Set<ConsoleSession>()

  constructor(source: ConsoleSource) {
    this.source = source
    this.averages = new Averages(source)
  }

  get sessions(): readonly ConsoleSession[] {
    return [...this.#sessions]
  }

  /** As the configuration says now: who loses a right loses it at once. */
  roleOf(user: string): Role | null {
    return roleIn(this.source.config.admin, user)
  }

  enter(visit: ConsoleVisit): Refusal | null {
    const { stream, visitor, parameters, keyLength } = visit
    if (this.roleOf(visitor.user) === null) return notAllowed(visitor.user)
    if (this.#sessions.size >= CLIENTS_MAX) return tooManyClients(`${CLIENTS_MAX} clients of the console`)
    const name = toText(parameters.get('application_name') ?? '')
    const session = new ConsoleSession(stream, visitor, this, name)
    const { pid, key } = this.source.house.cancelKeys.issue(keyLength)
    this.source.house.cancelKeys.assign(pid, session)
    session.pid = pid
    this.#sessions.add(session)
    stream.handler = session
    visit.onEntered()
    const told = [
      ...[['server_version', `${LIKE_POSTGRES} (pgmux ${this.source.version})`], ...TOLD],
      ...[
        ['session_authorization', visitor.user],
        ['application_name', name],
      ],
    ]
    for (const [parameter, value] of told) stream.write(parameterStatus(parameter, value))
    stream.write(backendKeyData(pid, key))
    stream.write(READY_IDLE)
    this.source.note({ user: visitor.user, client: visitor.address }, 'client in the console', 'debug')
    return null
  }

  onRefused(session: ConsoleSession, refusal: Refusal): void {
    this.source.house.onRefused(session.visitor, refusal)
  }

  onOver(session: ConsoleSession, reason: string): void {
    this.#sessions.delete(session)
    this.source.house.cancelKeys.revoke(session.pid)
    const { user, address } = session.visitor
    this.source.note({ user, client: address, reason }, 'client left the console', 'debug')
  }

  /** Those whose user is gone go as well. */
  dismissAll(farewellOf: (user: string) => Refusal | null): void {
    for (const session of [...this.#sessions]) {
      const farewell = farewellOf(session.visitor.user)
      if (farewell !== null) session.end(farewell)
    }
  }

  /** The process ends, or the console does. */
  close(refusal: Refusal): void {
    for (const session of this.#sessions) session.end(refusal)
  }

  tick(now: number): void {
    this.averages.tick(now)
    this.elsewhere.tick()
    for (const session of this.#sessions) session.tick(now)
  }
}
