// Reading the configuration again while the process runs: several wishes at once are one, what came of it is
// counted and logged, and a configuration with a mistake in it changes nothing. It applies nothing itself.
import type { Changes } from './config/diff.ts'
import { ConfigError, type LoadedConfig } from './config/load.ts'
import type { SetOptions } from './config/set.ts'
import type { Config } from './config/types.ts'
import type { Counters } from './observe/counters.ts'
import type { Log } from './observe/log.ts'

/** What a reload has changed; names only, never values. */
export type ReloadReport = Omit<Changes, 'config'>

/** What was read, and what is odd about it. */
export type ReadConfig = Pick<LoadedConfig, 'config' | 'warnings'>

/** Reads file, environment, flags and whatever they name, with what was set over them. @throws ConfigError */
export type ReadAgain = (set: SetOptions) => ReadConfig

/** Options with their texts; null: as file, environment and flags have it. */
export type SetPairs = Iterable<readonly [option: string, text: string | null]>

export interface ReloadsParts {
  /** Takes it over, as a whole or not at all. @throws an error of one sentence */
  apply(config: Config): ReloadReport
  readonly log: Log
  readonly counters: Counters
}

export class Reloads {
  readonly #parts: ReloadsParts
  /** Null: the configuration was given, not read. */
  read: ReadAgain | null = null
  #isAsked = false
  /** What was set since the last reload. */
  #set: SetOptions = new Map()

  constructor(parts: ReloadsParts) {
    this.#parts = parts
  }

  /** Soon. Further wishes until then are the same one. */
  ask(): void {
    if (this.#isAsked || this.read === null) return
    this.#isAsked = true
    setImmediate(() => {
      this.#isAsked = false
      try {
        this.now()
      } catch {
        // It is logged, and the process goes on as it was.
      }
    })
  }

  /** At once; what was set counts no more. @throws what is wrong, after it was logged: nothing has changed */
  now(): ReloadReport {
    return this.#take(new Map())
  }

  /** The same with these options over the others, until the next reload. */
  set(options: SetPairs): ReloadReport {
    const set = new Map(this.#set)
    for (const [option, text] of options) {
      if (text === null) set.delete(option)
      else set.set(option, text)
    }
    return this.#take(set)
  }

  #take(set: SetOptions): ReloadReport {
    const { log, counters } = this.#parts
    const { read } = this
    if (read === null) throw new Error('this configuration was given, not read: call reload(config)')
    try {
      const { config, warnings } = read(set)
      const report = this.#parts.apply(config)
      this.#set = set
      counters.reloads.add(['ok'])
      for (const warning of warnings) log.warn({}, warning)
      logReport(log, report)
      return report
    } catch (thrown) {
      counters.reloads.add(['failed'])
      const problems = thrown instanceof ConfigError ? thrown.problems : [(thrown as Error).message]
      for (const problem of problems) log.error({ problem }, 'reload failed, nothing was changed')
      throw thrown
    }
  }
}

/** One line: what is another now, and what waits for the next start. */
export function logReport(log: Log, report: ReloadReport): void {
  const { changed, needsRestart, databases, users } = report
  const all = {
    changed,
    databases_added: databases.added,
    databases_removed: databases.removed,
    users_added: users.added,
    users_removed: users.removed,
    needs_restart: needsRestart,
  }
  const said = Object.entries(all).filter(([, names]) => names.length > 0)
  const fields = Object.fromEntries(said)
  if (said.length === 0) log.info({}, 'configuration reloaded: nothing has changed')
  else if (needsRestart.length === 0) log.info(fields, 'configuration reloaded')
  else log.warn(fields, 'configuration reloaded; needs_restart has what counts from the next start only')
}
