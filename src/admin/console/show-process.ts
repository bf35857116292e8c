// SHOW VERSION, STATE, MEM, CONFIG and what PgBouncer shows of things that pgmux has not. Reads; changes
// nothing and never shows a secret.
import { AT_START } from '../../config/diff.ts'
import { OPTIONS, type OptionInfo } from '../../config/options.ts'
import type { Config } from '../../config/types.ts'
import { parseDuration } from '../../config/units.ts'
import type { Value } from '../../wire/rows.ts'
import { columns } from './columns.ts'
import type { Command, Operator } from './types.ts'

function* memory(): Generator<Value[]> {
  const { rss, heapTotal, heapUsed, external, arrayBuffers } = process.memoryUsage()
  yield ['process', 1, rss, 0, rss]
  yield ['heap', 1, heapUsed, heapTotal - heapUsed, heapTotal]
  yield ['external', 1, external, 0, external]
  yield ['array_buffers', 1, arrayBuffers, 0, arrayBuffers]
}

function* state({ source }: Operator): Generator<Value[]> {
  const { isAllPaused } = source.router.gates
  const { isDraining, isSuspended } = source.house
  yield ['active', isAllPaused || isDraining || isSuspended ? 'no' : 'yes']
  yield ['paused', isAllPaused ? 'yes' : 'no']
  yield ['suspended', isSuspended ? 'yes' : 'no']
}

/** PgBouncer's names that exporters read here, and ours. */
const PGBOUNCER_NAMES: readonly (readonly [name: string, ours: string])[] = [
  ['default_pool_size', 'pool.size'],
  ['listen_port', 'listen.port'],
  ['max_client_conn', 'client.max_connections'],
  ['max_db_connections', 'pool.max_servers_per_database'],
  ['max_user_connections', 'pool.max_servers_per_user'],
  ['min_pool_size', 'pool.min_size'],
  ['pool_mode', 'pool.mode'],
  ['reserve_pool_size', 'pool.reserve_size'],
]

/** A value of the configuration in use, as the file would have it; undefined: it is not kept. */
function valueInUse(config: Config, { path, kind, secret }: OptionInfo): Value | undefined {
  let value: unknown = config
  for (const key of path) {
    const holder = (value ?? {}) as Record<string, unknown>
    value = holder[camel(key)] ?? holder[`${camel(key)}Ms`]
  }
  if (value === undefined) return undefined
  if (secret === true) return value ? '********' : ''
  if (Array.isArray(value)) return value.join(', ')
  if (path.at(-1) === 'unix_socket_mode') return `0${Number(value).toString(8)}`
  return kind === 'duration' ? duration(Number(value)) : String(value ?? '')
}

const UNITS: readonly (readonly [ms: number, unit: string])[] = [
  [3_600_000, 'h'],
  [60_000, 'm'],
  [1000, 's'],
  [1, 'ms'],
]

function duration(ms: number): string {
  const [size, unit] = UNITS.find(([size]) => ms % size === 0) ?? [1, 'ms']
  return ms === 0 ? '0' : `${ms / size}${unit}`
}

function fallbackOf({ kind, secret, fallback }: OptionInfo): Value {
  if (fallback === undefined || secret === true) return null
  return kind === 'duration' ? duration(parseDuration(String(fallback))) : String(fallback)
}

function camel(key: string): string {
  return key.replace(/_(\w)/g, (_, letter: string) => letter.toUpperCase())
}

function* config({ source }: Operator): Generator<Value[]> {
  const options = OPTIONS.filter(({ path }) => !path.includes('<name>'))
  const byName = new Map(options.map((option) => [option.path.join('.'), option]))
  const names = [...byName.keys()].map((name) => [name, name] as const)
  for (const [name, ours] of [...names, ...PGBOUNCER_NAMES]) {
    const option = byName.get(ours)
    const value = option === undefined ? undefined : valueInUse(source.config, option)
    if (option === undefined || value === undefined) continue
    yield [name, value, fallbackOf(option), AT_START.test(ours) ? 'no' : 'yes']
  }
}

const NOTHING = (): Iterable<Value[]> => []

type Row = Pick<Command, 'name' | 'help' | 'columns' | 'rows'>

const ROWS: readonly Row[] = [
  {
    name: 'SHOW VERSION',
    help: 'The version of pgmux',
    columns: columns('text: version'),
    rows: ({ source }) => [[`pgmux ${source.version}`]],
  },
  {
    name: 'SHOW STATE',
    help: 'Whether all is paused',
    columns: columns('text: key value'),
    rows: state,
  },
  {
    name: 'SHOW CONFIG',
    help: 'The configuration in use; sizes in bytes',
    columns: columns('text: key value default changeable'),
    rows: config,
  },
  {
    name: 'SHOW MEM',
    help: 'Memory of the process in bytes',
    columns: columns('text: name, int4: size used free memtotal'),
    rows: memory,
  },
  {
    name: 'SHOW DNS_HOSTS',
    help: 'Always empty: names are looked up by the operating system, at each connection',
    columns: columns('text: hostname, int8: ttl, text: addrs'),
    rows: NOTHING,
  },
  {
    name: 'SHOW DNS_ZONES',
    help: 'Always empty',
    columns: columns('text: zonename, int8: serial, int4: count'),
    rows: NOTHING,
  },
  {
    name: 'SHOW PEERS',
    help: 'Always empty: pgmux has no peers',
    columns: columns('int4: peer_id, text: host, int4: port pool_size'),
    rows: NOTHING,
  },
  {
    name: 'SHOW PEER_POOLS',
    help: 'Always empty',
    columns: columns('int4: peer_id cl_active_cancel_req cl_waiting_cancel_req sv_active_cancel sv_login'),
    rows: NOTHING,
  },
]

export const PROCESS_COMMANDS: readonly Command[] = ROWS.map((row) => ({
  ...row,
  role: 'stats' as const,
  takes: 'nothing' as const,
}))
