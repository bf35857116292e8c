// The library: `import { createPooler } from 'pgmux'`. It owns no behaviour.
import { ConfigError, type LoadedConfig, loadConfig, type LoadOptions } from './config/load.ts'
import type { Config } from './config/types.ts'
import { createLog, type Log } from './observe/log.ts'
import { Pooler } from './pooler.ts'

export { ConfigError }
export type { Config } from './config/types.ts'
export type { ReloadReport } from './reload.ts'
export type { Log } from './observe/log.ts'
export type { Addresses } from './listeners.ts'
export { Pooler } from './pooler.ts'

/**
 * Starts a pooler in this process.
 * @param options where the configuration comes from: `file`, `flags` (as on the command line), `env`; and a
 * log.
 * @returns the running pooler; `reread()` reads the configuration again, `drain(ms)` stops it.
 * @throws ConfigError, or an Error of one sentence when a port cannot be opened.
 */
export async function createPooler(options: LoadOptions & { log?: Log } = {}): Promise<Pooler> {
  const load = (): LoadedConfig => {
    const loaded = loadConfig(options)
    refuseEmbedded(loaded.config)
    return loaded
  }
  const { config } = load()
  const pooler = new Pooler(config, options.log ?? createLog(config.log))
  pooler.readsFrom(load)
  await pooler.start()
  return pooler
}

function refuseEmbedded(config: Config): void {
  if (config.upstream.host === '' && config.databases.size === 0) {
    throw new ConfigError([
      'no Postgres is configured: give flags.upstream, DATABASE_URL, or upstream in the file',
    ])
  }
}
