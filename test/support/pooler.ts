// A pooler in this process, in front of a given Postgres, for tests. It owns the pooler and stops it.
import { loadConfig } from '../../src/config/load.ts'
import type { Config } from '../../src/config/types.ts'
import type { Log } from '../../src/observe/log.ts'
import { Pooler } from '../../src/pooler.ts'
import { every, whole } from './chop.ts'
import { TestProxy } from './proxy.ts'

/** Everything once more with each byte in a chunk of its own: `npm run test:long`. */
export const CHOPS: boolean = process.env.PGMUX_TEST_CHOP === '1'
/** The reason for notRun() of tests that such a line makes meaningless. */
export const CHOPPED = 'bytes come one by one in this run (PGMUX_TEST_CHOP)'
const CRUMBS_MAX = 2048

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
  const chopped = CHOPS ? await chop(upstream) : null
  const { config } = loadConfig({
    env: {},
    flags: { upstream: chopped?.url ?? upstream, listen: '127.0.0.1:0', admin: 'off' },
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
    stop: async () => {
      await pooler.drain(0)
      await chopped?.proxy.close()
    },
  }
}

/** A proxy in front of Postgres that passes bytes on one by one, both ways; null where it has no TCP port. */
async function chop(upstream: string): Promise<{ proxy: TestProxy; url: string } | null> {
  const url = new URL(upstream)
  if (url.hostname === '') return null
  const lane = { cut: crumbs }
  const proxy = await TestProxy.listen({
    host: url.hostname,
    port: Number(url.port || 5432),
    shape: { up: lane, down: lane },
  })
  url.hostname = '127.0.0.1'
  url.port = String(proxy.port)
  return { proxy, url: url.href }
}

/** Single bytes; of what is long only its beginning, or the large results of some tests would take hours. */
function crumbs(bytes: Buffer): Buffer[] {
  const head = bytes.subarray(0, CRUMBS_MAX)
  return [...every(head, 1), ...whole(bytes.subarray(CRUMBS_MAX))]
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

/** A log that collects its lines. */
export function logTo(lines: LogLine[], common: Readonly<Record<string, unknown>>): Log {
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
