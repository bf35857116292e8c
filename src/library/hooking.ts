// What stands between the pooler and the program that embeds it: takes what the pooler tells, hands it on
// later, and asks the hooks that logins wait for. It knows no connection, so that no hook can harm one.
import { EventEmitter } from 'node:events'
import { isConsole } from '../frontend/console-door.ts'
import type { Visitor } from '../frontend/types.ts'
import type { Log } from '../observe/log.ts'
import type { Watcher, Whose } from '../observe/watcher.ts'
import type { Refusal } from '../pool/types.ts'
import type { Hooked } from '../server-events.ts'
import type { StatementRun, StatementTeller } from '../session/session-watch.ts'
import type { Shape } from '../sql/shapes.ts'
import { type Answer, askHook, wordsOf } from './asking.ts'
import { AskedSecrets } from './asked-secrets.ts'
import { Deliveries } from './deliveries.ts'
import { ClientRefused, type HookClient, type Hooks, type PoolerEvents } from './hooks.ts'

/** Longest message of a ClientRefused that is passed on. */
const MESSAGE_MAX = 500
/** Longest name of a database that is taken; Postgres' own end at 63 bytes. */
const NAME_MAX = 256

export class Hooking implements Hooked, Watcher {
  readonly events = new EventEmitter<PoolerEvents>()
  readonly secrets: AskedSecrets | null
  readonly reroute: Hooked['reroute']
  readonly onStatement: StatementTeller | null
  readonly deliveries: Deliveries
  readonly #hooks: Hooks
  readonly #log: Log
  readonly #timeoutMs: number
  /** Of statements that were told before. */
  readonly #labels = new WeakMap<Shape, string>()

  constructor(hooks: Hooks, timeoutMs: number, log: Log) {
    this.#hooks = hooks
    this.#log = log
    this.#timeoutMs = timeoutMs
    this.deliveries = new Deliveries((what, thrown) =>
      log.error({ hook: what, error: wordsOf(thrown) }, 'a hook has failed'),
    )
    const { authenticate, route, onStatement } = hooks
    this.secrets =
      authenticate === undefined
        ? null
        : new AskedSecrets(authenticate.bind(hooks), timeoutMs, (problem, answer) =>
            this.#failed('authenticate', problem, answer),
          )
    this.reroute = route === undefined ? null : (visitor) => this.#route(visitor)
    this.onStatement = onStatement === undefined ? null : (run) => this.#tellStatement(run)
  }

  get watcher(): Watcher {
    return this
  }

  entered(client: Whose): void {
    if (this.#isHeard('clientIn')) this.#emit('clientIn', whoIs(client))
  }

  left(client: Whose, reason: string): void {
    if (this.#isHeard('clientOut')) this.#emit('clientOut', { ...whoIs(client), reason })
  }

  troubled({ code, reason, message }: { code: string; reason: string; message: string }, where: Whose): void {
    if (this.#isHeard('refusal')) this.#emit('refusal', { ...whoIs(where), code, reason, message })
  }

  pinned(reason: string, statement: string, client: Whose): void {
    const { onPin } = this.#hooks
    const isHeard = this.#isHeard('pin')
    if (onPin === undefined && !isHeard) return
    const pin = { ...whoIs(client), reason, statement }
    if (onPin !== undefined) this.deliveries.add('onPin', () => onPin.call(this.#hooks, pin))
    if (isHeard) this.#emit('pin', pin)
  }

  unpinned(reason: string, statement: string, client: Whose): void {
    if (this.#isHeard('unpin')) this.#emit('unpin', { ...whoIs(client), reason, statement })
  }

  #isHeard(name: keyof PoolerEvents): boolean {
    return this.events.listenerCount(name) > 0
  }

  /** Each listener by itself: one that throws keeps nobody from hearing it. */
  #emit<Name extends keyof PoolerEvents>(name: Name, ...said: PoolerEvents[Name]): void {
    for (const listener of this.events.rawListeners(name))
      this.deliveries.add(name, () => Reflect.apply(listener, this.events, said))
  }

  /** Told by the pooler itself. */
  tell<Name extends 'reload' | 'stop'>(name: Name, ...said: PoolerEvents[Name]): void {
    this.#emit(name, ...said)
  }

  #tellStatement({ shape, ...run }: StatementRun): void {
    this.deliveries.add('onStatement', () =>
      this.#hooks.onStatement!({ ...run, statement: this.#labelOf(shape) }),
    )
  }

  #labelOf(shape: Shape): string {
    const known = this.#labels.get(shape)
    if (known !== undefined) return known
    const { label } = shape
    this.#labels.set(shape, label)
    return label
  }

  async #route(visitor: Visitor): Promise<string | Refusal> {
    const answer = await askHook(() => this.#hooks.route!(whoIs(visitor)), this.#timeoutMs)
    if ('problem' in answer) {
      const { thrown, problem } = answer
      if (thrown instanceof ClientRefused) return refused('28000', thrown.message.slice(0, MESSAGE_MAX))
      return this.#unusable(problem, answer)
    }
    const { value } = answer
    if (value === undefined || value === null) return visitor.database
    if (typeof value !== 'string')
      return this.#unusable(`answered with a ${typeof value}, not a name`, answer)
    const isName = value !== '' && value.length <= NAME_MAX && !value.includes('\0') && !isConsole(value)
    return isName ? value : this.#unusable('answered with a name that no database can have', answer)
  }

  #unusable(problem: string, answer: Answer): Refusal {
    this.#failed('route', problem, answer)
    return refused('58000', 'the database of this client could not be found out')
  }

  #failed(hook: string, problem: string, answer: Answer): void {
    const error = 'thrown' in answer ? wordsOf(answer.thrown) : ''
    this.#log.error(
      { hook, ...(error === '' ? {} : { error }) },
      `the hook ${hook} ${problem}: a login was refused`,
    )
  }
}

function whoIs({ database, user, address }: Whose): HookClient {
  return { database, user, address }
}

function refused(code: string, message: string): Refusal {
  return { severity: 'FATAL', code, message, reason: 'refused_by_hook' }
}
