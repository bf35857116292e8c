// Reading the configuration again for several workers: all of them take it over, or none. It owns the order
// of reloads, one after another; what they mean for a worker its pooler knows.
import { changesBetween } from '../config/diff.ts'
import type { SetOptions } from '../config/set.ts'
import { ConfigError } from '../config/problems.ts'
import type { Config } from '../config/types.ts'
import type { Counters } from '../observe/counters.ts'
import type { Log } from '../observe/log.ts'
import { logReport, type ReadAgain, type SetPairs } from '../reload.ts'
import { readUpstreamTls } from '../routing/upstream-tls.ts'

export interface ReloadingParts {
  readonly log: Log
  readonly counters: Counters
  readonly read: ReadAgain
  config(): Config
  /** In each worker. @throws what is wrong */
  apply(config: Config): readonly Promise<void>[]
  onChanged(config: Config): void
}

export class Reloading {
  readonly #parts: ReloadingParts
  #last: Promise<void> = Promise.resolve()
  #isAsked = false
  /** What was set since the last reload. */
  #set: SetOptions = new Map()

  constructor(parts: ReloadingParts) {
    this.#parts = parts
  }

  /** Soon. Further wishes until then are the same one; what is wrong is logged. */
  ask(): void {
    if (this.#isAsked) return
    this.#isAsked = true
    setImmediate(() => {
      this.#isAsked = false
      this.now().catch(() => {})
    })
  }

  /** @throws what is wrong, after it was logged; then nothing has changed */
  now(): Promise<void> {
    return this.#next(() => new Map())
  }

  /** The same with these options over the others, until the next reload. */
  set(options: SetPairs): Promise<void> {
    return this.#next(() => {
      const set = new Map(this.#set)
      for (const [option, text] of options) {
        if (text === null) set.delete(option)
        else set.set(option, text)
      }
      return set
    })
  }

  #next(options: () => SetOptions): Promise<void> {
    const next = this.#last.then(() => this.#reload(options()))
    this.#last = next.catch(() => {})
    return next
  }

  async #reload(set: SetOptions): Promise<void> {
    const { log, counters } = this.#parts
    try {
      const { config: read, warnings } = this.#parts.read(set)
      const before = this.#parts.config()
      const { config, ...report } = changesBetween(before, read)
      readUpstreamTls(config)
      await this.#apply(config, before)
      this.#parts.onChanged(config)
      this.#set = set
      counters.reloads.add(['ok'])
      for (const warning of warnings) log.warn({}, warning)
      logReport(log, report)
    } catch (thrown) {
      counters.reloads.add(['failed'])
      const problems = thrown instanceof ConfigError ? thrown.problems : [(thrown as Error).message]
      for (const problem of problems) log.error({ problem }, 'reload failed, nothing was changed')
      throw thrown
    }
  }

  /** Where one cannot, those that could go back. */
  async #apply(config: Config, before: Config): Promise<void> {
    const done = await Promise.allSettled(this.#parts.apply(config))
    const failed = done.find((one) => one.status === 'rejected')
    if (failed === undefined) return
    await Promise.allSettled(this.#parts.apply(before))
    throw failed.reason
  }
}
