// Owns: the few statements that the model understands, all of them valid SQL for a real Postgres. Must never
// guess: what no rule matches is a syntax error, so that a test cannot believe that it ran something.

import type { Session } from './session.ts'
import { REPORTED } from './settings.ts'
import type { ClientMessage, FakeColumn } from './wire.ts'
import { PgError } from './wire.ts'

/** What a running session waits for: a message, time, or a client that reads. */
export type Wait = { kind: 'read' } | { kind: 'sleep'; ms: number } | { kind: 'drain' }
export type Steps<T> = Generator<Wait, T, ClientMessage | undefined>

type Row = { kind: 'row'; row: (string | null)[] }
/** Yields rows, and waits in between. */
export type Rows = Generator<Wait | Row, void, ClientMessage | undefined>
type Params = readonly (string | null)[]

interface Base {
  /** Type numbers of the parameters. */
  params?: number[]
  /** May run in a failed block. */
  exits?: boolean
  /** BEGIN and its like: ends the implicit transaction of a pipeline. */
  transaction?: boolean
  /** The word for the error in a read-only transaction; '' or absent: it writes nothing. */
  writes?: string
  /** Found by the planner: analysis succeeds. */
  planError?: PgError
  /** Found when the columns are asked for: by Parse, or after a Query made its portal. */
  startError?: PgError
}

/** A statement after parse analysis. */
export type Statement = Base &
  (
    | { form: 'rows'; tag: string; columns: FakeColumn[]; rows(session: Session, params: Params): Rows }
    | { form: 'command'; run(session: Session, params: Params): string }
    | { form: 'copyIn'; table: string }
    | { form: 'copyOut'; lines: string[] }
    | { form: 'empty' }
  )

/** How one kind of statement is recognised; `make` may throw the errors of parse analysis. */
export interface Rule {
  match: RegExp
  make(found: RegExpExecArray, session: Session): Statement
}

const TEXT = 25
export const LITERAL = `'(?:[^']|'')*'`
const VALUE = `(?:${LITERAL}|\\$\\d+|null)(?:::text)?`

const column = (name: string, type: 'text' | 'int4' | 'void'): FakeColumn => {
  const [oid, size] = { text: [TEXT, -1], int4: [23, 4], void: [2278, 4] }[type] as [number, number]
  return { name, type: oid, size }
}
const unquote = (literal: string) => literal.slice(1, -1).replaceAll("''", "'")
const row = (...values: (string | null)[]): Row => ({ kind: 'row', row: values })
const regexp = (source: string) => new RegExp(`^${source}$`, 'is')

/** The value of a literal, a parameter or NULL. */
function evaluate(source: string, params: Params): string | null {
  const bare = source.replace(/::text$/i, '').trim()
  if (bare.startsWith('$')) return params[Number(bare.slice(1)) - 1] ?? null
  return /^null$/i.test(bare) ? null : unquote(bare)
}

export function parameterTypes(sql: string): number[] {
  const numbers = [...sql.replace(new RegExp(LITERAL, 'g'), '').matchAll(/\$(\d+)/g)].map(([, n]) =>
    Number(n),
  )
  return Array.from({ length: Math.max(0, ...numbers) }, () => TEXT)
}

function command(run: (session: Session, params: Params) => string, base: Base = {}): Statement {
  return { form: 'command', run, ...base }
}

function select(
  columns: FakeColumn[],
  rows: (session: Session, params: Params) => Rows,
  base: Base = {},
): Statement {
  return { form: 'rows', tag: 'SELECT', columns, rows, ...base }
}

const control = (run: (session: Session) => string, exits = false): Statement =>
  command(run, { transaction: true, exits })

// ---- reading

function* series(low: number, high: number, value: (n: number) => string): Rows {
  for (let n = low; n <= high; n++) yield row(value(n))
}

function quotient(n: number): string {
  if (n === 3) throw new PgError('22012', 'division by zero')
  return String(Math.trunc(10 / (3 - n)))
}

const READS: Rule[] = [
  {
    match: regexp(`select (${VALUE}) as tag, pg_backend_pid\\(\\) as pid`),
    make: ([, value = '']) =>
      select([column('tag', 'text'), column('pid', 'int4')], function* (session, params) {
        yield row(evaluate(value, params), String(session.pid))
      }),
  },
  {
    match: regexp('select generate_series\\((\\d+), ?(\\d+)\\) as n'),
    make: ([, low, high]) => select([column('n', 'int4')], () => series(Number(low), Number(high), String)),
  },
  {
    match: regexp('select 10/\\(3-n\\) as q from generate_series\\((\\d+), ?(\\d+)\\) n'),
    make: ([, low, high]) => select([column('q', 'int4')], () => series(Number(low), Number(high), quotient)),
  },
  {
    match: regexp('select pg_sleep\\(([\\d.]+)\\)'),
    make: ([, seconds]) =>
      select([column('pg_sleep', 'void')], function* (session) {
        yield* session.sleep(Number(seconds) * 1000)
        yield row('')
      }),
  },
  {
    match: regexp('select 1/0'),
    make: () =>
      select([column('?column?', 'int4')], function* () {}, {
        planError: new PgError('22012', 'division by zero'),
      }),
  },
  {
    match: regexp(`select current_setting\\((${LITERAL})(, ?true)?\\)`),
    make: ([, name = '', missing]) =>
      select([column('current_setting', 'text')], function* ({ settings }) {
        const key = unquote(name)
        yield row(missing !== undefined && !settings.has(key) ? null : settings.get(key))
      }),
  },
  {
    match: regexp(
      `select ((?:(?:, ?)?(?:pg_catalog\\.)?set_config\\(${VALUE}, ?${VALUE}, ?(?:true|false)\\))+)`,
    ),
    make: ([, calls = '']) => setConfig(calls),
  },
  {
    match: regexp('show ([\\w.]+)'),
    make: ([, name = ''], { settings }) => {
      const shown = column(REPORTED[name.toLowerCase()] ?? name.toLowerCase(), 'text')
      const show = function* (session: Session) {
        yield row(session.settings.get(name))
      }
      const unknown = settings.has(name) ? {} : { startError: settings.unknown(name) }
      return { ...select([shown], show, unknown), tag: 'SHOW' } as Statement
    },
  },
  {
    match: regexp('select \\* from (missing\\w*)'),
    make: ([, name = '']) => {
      throw new PgError('42P01', `relation "${name}" does not exist`, 'ERROR', {
        P: String('select * from '.length + 1),
      })
    },
  },
]

function setConfig(calls: string): Statement {
  const each = new RegExp(`set_config\\((${VALUE}), ?(${VALUE}), ?(true|false)\\)`, 'gis')
  const found = [...calls.matchAll(each)]
  const columns = found.map(() => column('set_config', 'text'))
  return select(columns, function* ({ settings }, params) {
    const set = ([, name = '', value = '', local]: RegExpMatchArray) => {
      const key = evaluate(name, params)
      if (key === null) throw new PgError('22004', 'NULL value not allowed as parameter name')
      return settings.set(key, evaluate(value, params), local?.toLowerCase() === 'true')
    }
    yield row(...found.map(set))
  })
}

// ---- transactions

const CONTROL: Rule[] = [
  {
    match: regexp('(begin|start transaction)(?: work| transaction)?((?: .*)?)'),
    make: ([, word = '', modes = '']) =>
      control(({ tx }) => {
        tx.begin(modes)
        return word.toUpperCase()
      }),
  },
  {
    match: regexp('(?:commit|end)(?: work| transaction)?'),
    make: () => control(({ tx }) => tx.commitCommand(), true),
  },
  {
    match: regexp('(?:rollback|abort)(?: work| transaction)?'),
    make: () =>
      control(({ tx }) => {
        tx.rollbackCommand()
        return 'ROLLBACK'
      }, true),
  },
  {
    match: regexp('savepoint (\\w+)'),
    make: ([, name = '']) =>
      control(({ tx }) => {
        tx.savepoint(name)
        return 'SAVEPOINT'
      }),
  },
  {
    match: regexp('release(?: savepoint)? (\\w+)'),
    make: ([, name = '']) =>
      control(({ tx }) => {
        tx.release(name)
        return 'RELEASE'
      }),
  },
  {
    match: regexp('rollback(?: work| transaction)? to(?: savepoint)? (\\w+)'),
    make: ([, name = '']) =>
      control(({ tx }) => {
        tx.rollbackTo(name)
        return 'ROLLBACK'
      }, true),
  },
]

// ---- settings

/**
 * The right side of SET: words fall to lower case, literals stay, lists are joined as Postgres joins them.
 */
function settingValue(source: string): string | null {
  if (/^default$/i.test(source)) return null
  const items = source.match(new RegExp(`${LITERAL}|"[^"]*"|[^\\s,]+`, 'g')) ?? []
  return items.map((item) => (item.startsWith("'") ? unquote(item) : item.toLowerCase())).join(', ')
}

function setCommand(name: string, source: string, scope = ''): Statement {
  const local = scope.toLowerCase() === 'local'
  return command((session) => {
    if (local && !session.tx.inBlock) {
      session.warn(new PgError('25P01', 'SET LOCAL can only be used in transaction blocks', 'WARNING'))
    }
    session.settings.set(name.toLowerCase(), settingValue(source), local)
    return 'SET'
  })
}

function resetCommand(name: string): Statement {
  return command(({ settings }) => {
    if (name.toLowerCase() === 'all') settings.resetAll()
    else settings.set(name, null, false)
    return 'RESET'
  })
}

const SETTINGS: Rule[] = [
  { match: regexp('reset session authorization'), make: () => resetCommand('session_authorization') },
  { match: regexp('reset ([\\w.]+)'), make: ([, name = '']) => resetCommand(name) },
  {
    match: regexp('set (?:(session|local) )?time zone (.+)'),
    make: ([, scope, value = '']) => setCommand('timezone', value, scope),
  },
  {
    match: regexp('set (?:(session|local) )?session authorization (.+)'),
    make: ([, scope, value = '']) => setCommand('session_authorization', value, scope),
  },
  {
    match: regexp('set (?:(session|local) )?role (?!=|to )(.+)'),
    make: ([, scope, value = '']) => setCommand('role', value, scope),
  },
  {
    match: regexp('set (?:(session|local) )?([a-z_][\\w.]*)(?: ?= ?| to )(.+)'),
    make: ([, scope, name = '', value = '']) => setCommand(name, value, scope),
  },
]

// ---- the rest

function closeAll(session: Session): string {
  session.closePortals()
  return 'CLOSE CURSOR ALL'
}

function discardAll(session: Session): string {
  if (session.tx.inBlock) throw new PgError('25001', 'DISCARD ALL cannot run inside a transaction block')
  if (session.tx.pipelining) throw new PgError('25001', 'DISCARD ALL cannot be executed within a pipeline')
  session.settings.set('session_authorization', null, false)
  session.settings.resetAll()
  session.dropStatements()
  session.closePortals()
  session.tx.atCommit(() => session.channels.clear())
  return 'DISCARD ALL'
}

function deallocate(name: string): Statement {
  return command((session) => {
    if (/^all$/i.test(name)) session.dropStatements()
    else if (!session.statements.delete(name)) {
      throw new PgError('26000', `prepared statement "${name}" does not exist`)
    }
    return /^all$/i.test(name) ? 'DEALLOCATE ALL' : 'DEALLOCATE'
  })
}

function later(tag: string, run: (session: Session) => void): Statement {
  return command((session) => {
    session.tx.atCommit(() => run(session))
    return tag
  })
}

const OTHERS: Rule[] = [
  {
    match: regexp(`insert into (?:public\\.)?sink values \\((${LITERAL}|\\$1)\\)`),
    make: () => command(() => 'INSERT 0 1', { writes: 'INSERT' }),
  },
  {
    match: regexp('copy (?:public\\.)?(sink|numbers) from stdin'),
    make: ([, table = '']) => ({ form: 'copyIn', table, writes: 'COPY FROM' }),
  },
  {
    match: regexp('copy \\(select generate_series\\((\\d+), ?(\\d+)\\)\\) to stdout'),
    make: ([, low, high]) => {
      const count = Math.max(0, Number(high) - Number(low) + 1)
      return { form: 'copyOut', lines: Array.from({ length: count }, (_, i) => `${Number(low) + i}\n`) }
    },
  },
  { match: regexp('deallocate (?:prepare )?(\\w+)'), make: ([, name = '']) => deallocate(name) },
  { match: regexp('discard all'), make: () => command(discardAll, { transaction: true }) },
  {
    match: regexp('discard (temp|sequences|plans)'),
    make: ([, what = '']) => command(() => `DISCARD ${what.toUpperCase()}`),
  },
  { match: regexp('close all'), make: () => command(closeAll) },
  {
    match: regexp('listen (\\w+)'),
    make: ([, name = '']) => later('LISTEN', (session) => session.channels.add(name.toLowerCase())),
  },
  {
    match: regexp('unlisten (\\w+|\\*)'),
    make: ([, name = '']) =>
      later('UNLISTEN', ({ channels }) => {
        if (name === '*') channels.clear()
        else channels.delete(name.toLowerCase())
      }),
  },
  {
    match: regexp(`notify (\\w+)(?:, ?(${LITERAL}))?`),
    make: ([, name = '', payload = "''"]) =>
      later('NOTIFY', (session) => session.notify(name.toLowerCase(), unquote(payload))),
  },
]

/** All that the model understands. */
export const RULES: readonly Rule[] = [...CONTROL, ...SETTINGS, ...READS, ...OTHERS]
