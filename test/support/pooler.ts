// A pooler in this process, in front of a given Postgres, for tests. It owns the pooler and stops it.
import { loadConfig } from '../../src/config/load.ts'
import type { Config } from '../../src/config/types.ts'
import type { Log } from '../../src/observe/log.ts'
import { Pooler } from '../../src/pooler.ts'

/** Any part of the configuration, laid over the defaults. */
export type Overrides = { [Section in keyof Config]?: Partial<Config[Section]> | Config[Section] }

export interface TestPooler {
  readonly host: string
  readonly port: number
  readonly pooler: Pooler
  /** Log lines so far: level, message and fields. */
  readonly lines: LogLine[]
  stop(): Promise<void>
}

export interface LogLine {
  readonly level: string
  readonly message: string
  readonly fields: Readonly<Record<string, unknown>>
}

/** Starts a pooler on a free loopback port in front of `upstream` (a postgres:// URL). */
export async function startPooler(upstream: string, overrides: Overrides = {}): Promise<TestPooler> {
  const { config } = loadConfig({
    env: {},
    flags: { upstream, listen: '127.0.0.1:0', admin: 'off' },
    terminal: false,
  })
  const lines: LogLine[] = []
  const pooler = new Pooler(merge(config, overrides), logTo(lines, {}))
  await pooler.start()
  return {
    host: '127.0.0.1',
    port: pooler.addresses.postgres.port,
    pooler,
    lines,
    stop: () => pooler.drain(0),
  }
}

function merge(config: Config, overrides: Overrides): Config {
  const merged: Record<string, unknown> = { ...config }
  for (const [section, value] of Object.entries(overrides)) {
    const before = merged[section]
    const isPlain = typeof value === 'object' && value !== null && !(value instanceof Map)
    merged[section] = isPlain ? { ...(before as object), ...value } : value
  }
  return merged as unknown as Config
}

function logTo(lines: LogLine[], common: Readonly<Record<string, unknown>>): Log {
  const write = (level: string) => (fields: Readonly<Record<string, unknown>>, message: string) => {
    lines.push({ level, message, fields: { ...common, ...fields } })
  }
  return {
    debug: write('debug'),
    info: write('info'),
    warn: write('warn'),
    error: write('error'),
    child: (fields) => logTo(lines, { ...common, ...fields }),
    enabled: () => true,
  }
}
