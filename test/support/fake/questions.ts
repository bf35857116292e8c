// Owns: what a pooler asks about the session itself and about its database, as the model answers it. Must
// never answer what Postgres would not: each rule is for one text of ours, known by its beginning.

import type { Rows, Rule, Statement } from './language.ts'
import type { Session } from './session.ts'
import { REPORTED } from './settings.ts'

const TEXT = { type: 25, size: -1 }
const BOOL = { type: 16, size: 1 }
const BOOL_TYPE = 16
const TEXT_ARRAY = 1009
const IDENTITY = ['role', 'session_authorization']
/** Nobody can set these. */
const FACTS = /^(in_hot_standby|integer_datetimes|is_superuser|server_encoding|server_version)$/

type Make = (session: Session, params: readonly (string | null)[]) => (string | null)[][]

function answer(columns: { type: number; size: number }[], params: number[], make: Make): Statement {
  return {
    form: 'rows',
    tag: 'SELECT',
    params,
    columns: columns.map((column, at) => ({ name: `column${at + 1}`, ...column })),
    *rows(session, values): Rows {
      for (const row of make(session, values)) yield { kind: 'row', row }
    },
  }
}

/** `{"a","b"}` as a list. */
function elements(array: string | null): string[] {
  return [...(array ?? '').matchAll(/"((?:[^"\\]|\\.)*)"/g)].map(([, text = '']) =>
    text.replace(/\\(.)/g, '$1'),
  )
}

function ownSettings({ settings }: Session, [names = null]: readonly (string | null)[]): (string | null)[][] {
  const rows: (string | null)[][] = []
  for (const [name, value] of Object.entries(settings.changed())) {
    if (IDENTITY.includes(name) || FACTS.test(name) || name.includes('.')) continue
    rows.push([REPORTED[name] ?? name, value, 'user'])
  }
  for (const name of IDENTITY) rows.push([name, settings.get(name), 'identity'])
  for (const name of elements(names)) {
    rows.push([name, settings.has(name) ? settings.get(name) : null, 'custom'])
  }
  return rows
}

function remains(session: Session, asked: readonly (string | null)[]): (string | null)[][] {
  // There are no temporary objects, locks or cursors here.
  const present = [false, false, false, session.channels.size > 0]
  return [present.map((is, at) => (asked[at] === 't' ? (is ? 't' : 'f') : null))]
}

function preparedNames(
  { statements }: Session,
  [asked = null]: readonly (string | null)[],
): (string | null)[][] {
  const wanted = asked === null ? null : elements(asked)
  return [...statements]
    .filter(([name]) => name !== '' && !name.startsWith('pgmux_'))
    .filter(([name]) => wanted === null || wanted.includes(name))
    .map(([name, { sql, types }]) => [name, 't', `{${types}}`, sql, 'prepared', 'statement'])
}

function times({ settings }: Session): (string | null)[][] {
  const names = ['statement_timeout', 'lock_timeout']
  const before = names.map((name) => settings.get(name))
  return [[...before, ...names.map((name) => settings.set(name, '0', true)), 'times']]
}

/** What is asked at the end of a transaction, and at a login. */
export const QUESTIONS: readonly Rule[] = [
  {
    match: /^SELECT s\.name, s\.setting, s\.context FROM pg_catalog\.pg_show_all_settings\(\) s/,
    make: () => answer([TEXT, TEXT, TEXT], [TEXT_ARRAY], ownSettings),
  },
  {
    match: /^SELECT\nCASE WHEN \$1 THEN EXISTS \(SELECT FROM pg_catalog\.pg_depend/,
    make: () => answer(Array(4).fill(BOOL), Array(4).fill(BOOL_TYPE), remains),
  },
  {
    match: /^SELECT p\.name, p\.from_sql, p\.parameter_types/,
    make: () => answer([TEXT, BOOL, TEXT, TEXT, TEXT, TEXT], [TEXT_ARRAY], preparedNames),
  },
  {
    match: /^SELECT pg_catalog\.current_setting\('statement_timeout'\)/,
    make: () => answer(Array(5).fill(TEXT), [], times),
  },
  {
    match: /^set transaction isolation level repeatable read, read only$/,
    make: () => ({ form: 'command', run: () => 'SET' }),
  },
  // There are no functions, so the catalogue never changes.
  { match: /^with r as materialized/, make: () => answer([TEXT], [], () => [['0']]) },
  { match: /^select 'f', p\.oid/, make: () => answer([TEXT, TEXT, TEXT], [], () => []) },
  { match: /^with d as materialized/, make: () => answer([TEXT, TEXT], [], () => []) },
  {
    match: /^select p\.oid, p\.proname/,
    make: () => answer([TEXT, TEXT, TEXT, TEXT, BOOL, TEXT], [], () => []),
  },
  { match: /^with recursive k as/, make: () => answer(Array(4).fill(TEXT), [], () => []) },
  { match: /^select 'b', b\.name/, make: () => answer(Array(4).fill(TEXT), [], () => []) },
]
