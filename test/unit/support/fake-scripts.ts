// Owns: seeded random conversations for comparing the model with a real Postgres. Must never produce
// something whose answer depends on time, on another session or on the version of Postgres.

import * as m from '../../support/messages.ts'
import type { Prng } from '../../support/prng.ts'

const TAG = (text: string) => `select '${text}'::text as tag, pg_backend_pid() as pid`

const STATEMENTS: [number, (random: Prng) => string][] = [
  [6, (r) => TAG(`t${r.below(100)}`)],
  [2, () => 'select generate_series(1, 4) as n'],
  [2, () => 'select 10/(3-n) as q from generate_series(1, 5) n'],
  [1, () => 'select pg_sleep(0.001)'],
  [2, () => 'select 1/0'],
  [1, () => 'select * from missing1'],
  [1, () => '  boom now'],
  [1, () => ''],
  [6, (r) => r.pick(['begin', 'BEGIN', 'start transaction', 'begin read only'])],
  [4, (r) => r.pick(['commit', 'end', 'COMMIT WORK'])],
  [4, (r) => r.pick(['rollback', 'abort'])],
  [2, (r) => `savepoint s${r.below(2)}`],
  [2, (r) => `rollback to ${r.pick(['', 'savepoint '])}s${r.below(2)}`],
  [1, (r) => `release s${r.below(2)}`],
  [5, (r) => setting(r)],
  [2, (r) => `reset ${r.pick(['timezone', 'application_name', 'all', 'app.tenant', 'nonsense'])}`],
  [
    3,
    (r) => `show ${r.pick(['TimeZone', 'application_name', 'statement_timeout', 'search_path', 'nonsense'])}`,
  ],
  [1, (r) => `select current_setting('${r.pick(['app.tenant', 'datestyle', 'nonsense'])}', true)`],
  [1, () => `select current_setting('app.other')`],
  [
    2,
    (r) =>
      `select pg_catalog.set_config('${r.pick(['app.tenant', 'timezone'])}', 'GMT', ` +
      `${r.pick(['true', 'false'])})`,
  ],
  [2, (r) => `insert into public.sink values ('x${r.below(100)}')`],
  [1, () => 'copy (select generate_series(1, 3)) to stdout'],
  [1, (r) => `deallocate ${r.pick(['all', 'p0', 'p1', 'prepare p2'])}`],
  [1, (r) => r.pick(['discard all', 'discard temp', 'discard sequences', 'discard plans', 'close all'])],
  [1, (r) => r.pick(['listen a', 'unlisten a', 'unlisten *', `notify a, 'hello'`, 'notify a', 'notify b'])],
]

function setting(random: Prng): string {
  const scope = random.pick(['', '', 'local ', 'session '])
  const value = random.pick([
    `timezone = 'Europe/Berlin'`,
    `TimeZone to 'Asia/Tokyo'`,
    `timezone = 'Nowhere/Else'`,
    `application_name = 'it''s'`,
    `application_name to Foo`,
    'datestyle = german',
    `datestyle = 'SQL, DMY'`,
    'datestyle = ymd',
    'intervalstyle = iso_8601',
    'intervalstyle = wrong',
    'statement_timeout = 5000',
    `statement_timeout = '90s'`,
    'statement_timeout = wrong',
    'search_path = public, pg_catalog',
    'default_transaction_read_only = on',
    'default_transaction_read_only = off',
    `app.tenant = 'one'`,
    'timezone to default',
    'nonsense = 1',
    'role = nobody_at_all',
    'server_version = 1',
  ])
  return `set ${scope}${value}`
}

function statement(random: Prng): string {
  let ticket = random.below(STATEMENTS.reduce((sum, [weight]) => sum + weight, 0))
  for (const [weight, make] of STATEMENTS) {
    ticket -= weight
    if (ticket < 0) return make(random)
  }
  return ''
}

/** One Query; sometimes of several statements. */
function simple(random: Prng): Buffer {
  const count = random.chance(0.3) ? random.between(2, 4) : 1
  return m.query(Array.from({ length: count }, () => statement(random)).join(random.pick([';', '; ', ';;'])))
}

const name = (random: Prng) => random.pick(['', '', 'p0', 'p1', 'p2'])
const portal = (random: Prng) => random.pick(['', '', 'c0', 'c1'])

function parameters(random: Prng): { sql: string; params: (string | null)[] } {
  const value = random.pick(['v', "o'k", null])
  if (random.chance(0.5)) return { sql: 'select $1::text as tag, pg_backend_pid() as pid', params: [value] }
  if (random.chance(0.3)) return { sql: 'insert into public.sink values ($1)', params: [value] }
  const target = random.pick(['app.tenant', 'application_name', 'search_path'])
  return { sql: 'select pg_catalog.set_config($1, $2, false)', params: [target, random.pick(['w', null])] }
}

/** Whole statements by the extended protocol, with named or unnamed statements and portals. */
function whole(random: Prng): Buffer[] {
  const withParams = random.chance(0.4)
  const { sql, params } = withParams ? parameters(random) : { sql: statement(random), params: [] }
  const [statementName, portalName] = [name(random), portal(random)]
  const results = random.pick([[], [0]])
  const out = [
    m.parse(sql, { name: statementName }),
    m.bind({ statement: statementName, portal: portalName, params, results }),
  ]
  if (random.chance(0.3)) out.splice(1, 0, m.describe('S', statementName))
  if (random.chance(0.7)) out.push(m.describe('P', portalName))
  out.push(m.execute(portalName, random.pick([0, 0, 1, 3])))
  if (random.chance(0.3)) out.push(m.execute(portalName, 2))
  return out
}

/**
 * Messages that fit together only by luck. Execute names a portal: an unnamed one that a failed Query left
 * behind makes Postgres read freed memory, and sometimes crash.
 */
function loose(random: Prng): Buffer {
  const roll = random.below(8)
  if (roll === 0) return m.parse(statement(random), { name: name(random) })
  if (roll === 1)
    return m.bind({ statement: name(random), portal: portal(random), params: random.pick([[], ['z']]) })
  if (roll === 2) return m.describe(random.pick(['S', 'P']), random.pick([name(random), portal(random)]))
  if (roll === 3) return m.execute(random.pick(['c0', 'c1']), random.below(3))
  if (roll === 4) return m.close('S', name(random))
  if (roll === 5) return m.close('P', portal(random))
  if (roll === 6) return m.flush()
  return m.copyData('nobody asked for this\n')
}

function batch(random: Prng): Buffer {
  const parts = Array.from({ length: random.between(1, 3) }, () =>
    random.chance(0.6) ? whole(random) : [loose(random)],
  )
  return Buffer.concat([...parts.flat(), m.sync()])
}

/** COPY FROM STDIN in either protocol, with good and bad data, ended or failed. */
function copy(random: Prng): Buffer {
  const table = random.pick(['public.sink', 'public.numbers'])
  const lines = Array.from({ length: random.below(4) }, () => random.pick(['1\n', '22\n', '3\n4\n', 'x\n']))
  const data = lines.map((line) => m.copyData(line))
  const end = random.chance(0.8) ? m.copyDone() : m.copyFail('no more')
  const sql = `copy ${table} from stdin`
  if (random.chance(0.5)) return Buffer.concat([m.query(sql), ...data, end])
  const ignored = random.pick([[], [m.sync()], [m.flush()]])
  return Buffer.concat([m.parse(sql), m.bind(), m.execute(), ...ignored, ...data, end, m.sync()])
}

/** A conversation: what a client sends after its login, up to Terminate. */
export function script(random: Prng): Buffer[] {
  const turn = () => {
    const roll = random.next()
    if (roll < 0.45) return simple(random)
    if (roll < 0.9) return batch(random)
    return roll < 0.96 ? copy(random) : m.functionCall(random.pick([2026, 4_000_000]))
  }
  return [...Array.from({ length: random.between(3, 14) }, turn), m.terminate()]
}
