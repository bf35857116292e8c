// A pooler in this process, in front of a given Postgres, for tests. It owns the pooler and stops it.
import { loadConfig } from '../../src/config/load.ts'
import type { Config } from '../../src/config/types.ts'
import type { Log } from '../../src/observe/log.ts'
import { Pooler } from '../../src/pooler.ts'

/** Any part of the configuration, laid over the defaults. */
export type Overrides = { [Section in keyof Config]?: Parts<Config[Section]> }

/** Any part of a plain object; maps and lists are given whole. */
type Parts<T> = T extends ReadonlyMap<unknown, unknown> | readonly unknown[]
  ? T
  : T extends object
    ? { [Key in keyof T]?: Parts<T[Key]> }
    : T

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

/** `overrides` laid over `config`. */
export function merge(config: Config, overrides: Overrides): Config {
  return laidOver(config, overrides) as Config
}

function laidOver(below: unknown, above: unknown): unknown {
  if (!isPlain(below) || !isPlain(above)) return above
  const merged: Record<string, unknown> = { ...below }
  for (const [key, value] of Object.entries(above)) merged[key] = laidOver(merged[key], value)
  return merged
}

function isPlain(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && Object.getPrototypeOf(value) === Object.prototype
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
