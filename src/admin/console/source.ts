// What the console sees of the process, made from the pooler. It owns nothing.
import type { Config } from '../../config/types.ts'
import { orForever } from '../../config/units.ts'
import type { Log } from '../../observe/log.ts'
import type { LogTail } from '../../observe/log-tail.ts'
import type { Router } from '../../routing/router.ts'
import type { ConsoleFellows, ConsoleHouse, ConsoleSource, ShutdownMode } from './types.ts'

/** The pooler, as far as the console needs it. */
export interface ControlledPooler {
  readonly config: Config
  readonly house: ConsoleHouse
  readonly router: Router
  readonly addresses: { readonly postgres: { readonly port: number } }
  /** Reads the configuration again. @throws with the reason; then nothing has changed. */
  reread(): unknown
  /** The same with options over it. */
  set(options: readonly (readonly [option: string, text: string | null])[]): unknown
  drain(timeoutMs: number): Promise<void>
  stopWhenEmpty(): Promise<void>
}

/** Where the others are asked who share the work. */
interface Shared {
  readonly console: ConsoleFellows
  reload(): Promise<void>
  set(options: readonly (readonly [option: string, text: string | null])[]): Promise<void>
  shutdown(mode: ShutdownMode): void
}

export class PoolerSource implements ConsoleSource {
  readonly version: string
  readonly time: { readonly now: number }
  readonly counters: ConsoleSource['counters']
  readonly troubles: ConsoleSource['troubles']
  readonly limits: ConsoleSource['limits']
  readonly #pooler: ControlledPooler
  readonly #log: Log
  readonly #membership: Shared | null

  constructor(
    pooler: ControlledPooler,
    parts: Pick<ConsoleSource, 'version' | 'time' | 'counters' | 'troubles' | 'limits'> & {
      log: Log
      membership: Shared | null
    },
  ) {
    this.#membership = parts.membership
    this.#pooler = pooler
    this.version = parts.version
    this.time = parts.time
    this.counters = parts.counters
    this.troubles = parts.troubles
    this.limits = parts.limits
    this.#log = parts.log
  }

  get config(): Config {
    return this.#pooler.config
  }

  get house(): ConsoleHouse {
    return this.#pooler.house
  }

  get router(): Router {
    return this.#pooler.router
  }

  get port(): number {
    return this.#pooler.addresses.postgres.port
  }

  get fellows(): ConsoleFellows | null {
    return this.#membership?.console ?? null
  }

  get tail(): LogTail | null {
    return this.#log.tail ?? null
  }

  reload(): void | Promise<void> {
    if (this.#membership !== null) return this.#membership.reload()
    this.#pooler.reread()
  }

  set(options: readonly (readonly [option: string, text: string | null])[]): void | Promise<void> {
    if (this.#membership !== null) return this.#membership.set(options)
    this.#pooler.set(options)
  }

  shutdown(mode: ShutdownMode): void {
    if (this.#membership !== null) this.#membership.shutdown(mode)
    else if (mode === 'wait for clients') void this.#pooler.stopWhenEmpty()
    else void this.#pooler.drain(mode === 'now' ? 0 : orForever(this.config.shutdown.timeoutMs))
  }

  note(fields: Readonly<Record<string, unknown>>, message: string, level: 'debug' | 'info' = 'info'): void {
    this.#log[level](fields, message)
  }
}
