// The library: `import { createPooler } from 'pgmux'`. It owns no behaviour.
import { ConfigError, type LoadedConfig, loadConfig, type LoadOptions } from './config/load.ts'
import type { SetOptions } from './config/set.ts'
import type { Config } from './config/types.ts'
import { createLog, type Log } from './observe/log.ts'
import { type HookOptions, LibraryPooler } from './library/pooler.ts'

export { ConfigError }
export type { Config } from './config/types.ts'
export type { ReloadReport } from './reload.ts'
export type { Log } from './observe/log.ts'
export type { Addresses } from './listeners.ts'
export { ClientRefused } from './library/hooks.ts'
export type {
  HookClient,
  HookPin,
  HookRefusal,
  Hooks,
  HookStatement,
  PoolerEvents,
} from './library/hooks.ts'
export type { HookOptions } from './library/pooler.ts'
export { Pooler } from './pooler.ts'
export { LibraryPooler } from './library/pooler.ts'

/** Where its configuration comes from, what the program decides, and where lines of the log go. */
export interface PoolerOptions extends LoadOptions, HookOptions {
  /** Default: what the section `log` of the configuration says. */
  log?: Log | undefined
}

/**
 * Starts a pooler in this process.
 *
 * ```ts
 * const pooler = await createPooler({ flags: { upstream: 'postgres://app:secret@127.0.0.1/app' } })
 * pooler.on('clientIn', ({ user }) => console.log(user))
 * await pooler.stop()
 * ```
 * @param options where the configuration comes from: `file`, `flags` (as on the command line), `env`
 * (default: the environment of the process); hooks; a log.
 * @returns the running pooler: `addresses` says where it listens, `reread()` reads the configuration again,
 * `reload(config)` takes another one, `stop()` ends it.
 * @throws ConfigError, or an Error of one sentence when a port cannot be opened.
 */
export async function createPooler(options: PoolerOptions = {}): Promise<LibraryPooler> {
  const load = (set?: SetOptions): LoadedConfig => {
    const loaded = loadConfig({ ...options, set })
    refuseEmbedded(loaded.config)
    return options.hooks?.authenticate === undefined ? loaded : asksForSecrets(loaded)
  }
  const { config } = load()
  const pooler = new LibraryPooler(config, options.log ?? createLog(config.log), options)
  pooler.readsFrom(load)
  await pooler.start()
  return pooler
}

/** Who gives secrets wants them asked for: nobody comes in without one because none is configured. */
function asksForSecrets(loaded: LoadedConfig): LoadedConfig {
  const { config, sources } = loaded
  if (config.client.auth !== 'trust') return loaded
  if (sources.has('client.auth'))
    throw new ConfigError([
      'client.auth trust asks nobody for a secret: the hook authenticate is never called',
    ])
  return { ...loaded, config: { ...config, client: { ...config.client, auth: 'scram-sha-256' } } }
}

function refuseEmbedded(config: Config): void {
  if (config.upstream.host === '' && config.databases.size === 0) {
    throw new ConfigError([
      'no Postgres is configured: give flags.upstream, DATABASE_URL, or upstream in the file',
    ])
  }
}
