// The pooler as a program has it that embeds pgmux. It adds events and a name for each thing to do; it
// decides nothing.
import type { Config } from '../config/types.ts'
import { orForever } from '../config/units.ts'
import type { Log } from '../observe/log.ts'
import { Pooler } from '../pooler.ts'
import type { ReloadReport } from '../reload.ts'
import { Hooking } from './hooking.ts'
import type { Hooks, PoolerEvents } from './hooks.ts'

/** How long a login waits for a hook, in ms. */
const HOOK_TIMEOUT_MS = 5000

/** What createPooler gives: a running pooler. */
export class LibraryPooler extends Pooler {
  readonly #hooking: Hooking

  constructor(config: Config, log: Log, { hooks = {}, hookTimeoutMs = HOOK_TIMEOUT_MS }: HookOptions) {
    const hooking = new Hooking(hooks, hookTimeoutMs, log)
    super(config, log, hooking)
    this.#hooking = hooking
    if (hooking.secrets !== null) hooking.secrets.warm = (user, secret) => this.house.auth.warm(user, secret)
    void this.stopped.then(() => hooking.tell('stop'))
  }

  /** Calls `listener` for each event of this name from now on. */
  on<Name extends keyof PoolerEvents>(name: Name, listener: (...said: PoolerEvents[Name]) => unknown): this {
    this.#hooking.events.on(name, listener as never)
    return this
  }

  /** No more. */
  off<Name extends keyof PoolerEvents>(name: Name, listener: (...said: PoolerEvents[Name]) => unknown): this {
    this.#hooking.events.off(name, listener as never)
    return this
  }

  /** Calls of hooks and listeners that were not made, because they were too slow for all of them. */
  get lostCalls(): number {
    return this.#hooking.deliveries.lost
  }

  /**
   * Stops it: nobody new comes in, transactions end, idle clients read `57P01`.
   * @param timeoutMs after which what is not over is cut off (default: `shutdown.timeout`)
   * @returns resolves when everything is closed
   */
  stop(timeoutMs: number = orForever(this.config.shutdown.timeoutMs)): Promise<void> {
    return this.drain(timeoutMs)
  }

  override reload(config: Config): ReloadReport {
    const report = super.reload(config)
    this.#hooking.tell('reload', report)
    return report
  }
}

/** What the program decides and wants to be told. */
export interface HookOptions {
  hooks?: Hooks | undefined
  /** How long a login waits for a hook, in ms (5000). */
  hookTimeoutMs?: number | undefined
}
