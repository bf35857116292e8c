// `pgmux status`: how a running pgmux is, read from its console and printed once, for people or as JSON. It
// changes nothing there.
import type { Arguments } from './arguments.ts'
import { ConsoleClient, consoleUrl, type Row } from './console-client.ts'
import { plain, table } from './table.ts'

/** Statements and errors that are shown. */
const SHOWN_MAX = 10

/** All that is asked. */
export interface Status {
  readonly version: string
  readonly state: Row
  readonly lists: Row
  readonly totals: Row
  readonly pools: readonly Row[]
  readonly hosts: readonly Row[]
  readonly waits: readonly Row[]
  readonly pins: readonly Row[]
  readonly errors: readonly Row[]
  readonly statements: readonly Row[]
}

/** @returns the exit code: 0, where the console has answered */
export async function status(given: Arguments): Promise<number> {
  const client = await ConsoleClient.connect(consoleUrl(given.target, given.flags, process.env), process.env)
  const found = await readStatus(client)
  client.end()
  const text = given.json ? JSON.stringify(found, null, 2) : statusText(found).join('\n')
  process.stdout.write(`${text}\n`)
  return 0
}

/** Asks for all of it. */
export async function readStatus(client: ConsoleClient): Promise<Status> {
  const [version] = await client.ask('SHOW VERSION')
  return {
    version: String(version?.version ?? ''),
    state: pairs(await client.ask('SHOW STATE'), 'key', 'value'),
    lists: pairs(await client.ask('SHOW LISTS'), 'list', 'items'),
    totals: pairs(await client.ask('SHOW TOTALS'), 'name', 'value'),
    pools: (await client.ask('SHOW POOLS')).filter(({ database }) => database !== 'pgmux'),
    hosts: await client.ask('SHOW HOSTS'),
    waits: await client.ask('SHOW WAITS'),
    pins: await client.ask('SHOW PINS'),
    errors: (await client.ask('SHOW ERRORS')).slice(0, SHOWN_MAX),
    statements: (await client.ask('SHOW STATEMENTS')).slice(0, SHOWN_MAX),
  }
}

/** Rows of names and values as one. */
export function pairs(rows: readonly Row[], name: string, value: string): Row {
  return Object.fromEntries(rows.map((row) => [String(row[name]), row[value] ?? null]))
}

/** What people read. */
export function statusText(found: Status): string[] {
  const { version, state, lists, pools, hosts, waits, pins, errors, statements } = found
  const how = state.suspended === 'yes' ? 'suspended' : state.paused === 'yes' ? 'paused' : 'active'
  const counts = `${lists.used_clients} clients, ${waits.length} waiting, ${pins.length} pins`
  const lines = [`${version}: ${how}, ${counts}`, '', ...poolTable(pools)]
  const down = hosts.filter(({ state: is }) => is === 'down')
  for (const { database, host, port, failing_since: since, last_error: error } of down)
    lines.push('', plain(`DOWN: ${database} at ${host}:${port} since ${since}: ${error}`))
  if (waits.length > 0) lines.push('', ...waitLines(waits))
  if (errors.length > 0)
    lines.push('', 'Errors', ...table(errors, columnsOf('count sqlstate reason age last_message')))
  if (statements.length > 0)
    lines.push(
      '',
      'Statements, by time',
      ...table(statements, columnsOf('calls avg_time rows errors statement')),
    )
  return lines
}

/** One line for each cause, with how many wait for it. */
export function waitLines(waits: readonly Row[]): string[] {
  const causes = new Map<string, Row[]>()
  for (const row of waits) {
    const key = `${row.database}/${row.user}: ${row.cause}`
    causes.set(key, [...(causes.get(key) ?? []), row])
  }
  return [...causes].flatMap(([cause, rows]) => {
    const [first] = rows
    const lines = [`${rows.length} wait for ${cause}, up to ${first.wait} s`]
    if (first.holder_state !== null) lines.push(`  ${holderText(first)}`)
    lines.push(`  ${first.advice}`)
    return lines.map(plain)
  })
}

function holderText(row: Row): string {
  const who = row.holder_id === null ? 'a server' : `client ${row.holder_id} (${row.holder_addr})`
  return `${who} is ${row.holder_state} for ${row.holder_time} s: ${row.holder_statement}`
}

export function poolTable(pools: readonly Row[]): string[] {
  return table(
    pools,
    columnsOf('database user pool_mode cl_active cl_waiting sv_active sv_idle sv_login maxwait'),
  )
}

/** Columns under their own names. */
export function columnsOf(names: string): [string, string][] {
  return names.split(' ').map((name) => [name, name])
}
