// Owns: what the simulation adds to the model's statements: a statement that carries a client's number,
// answers with the settings that it sees, and notices when it runs twice or inside a stranger's
// transaction; and what a session can leave behind without that being reported.

import type { Insight } from '../../src/backend/insight.ts'
import { Insights } from '../../src/routing/insights.ts'
import { ShapeBook } from '../../src/sql/shapes.ts'
import { openGrammar } from '../support/grammar.ts'
import { type FakeCluster, PgError, type Rule, type Session } from '../support/fake-postgres.ts'

const grammar = await openGrammar()

/**
 * Knows no text yet. That `select seen(..)` only reads, and is quick, it is told: no catalogue of the model
 * says so.
 */
export function insightOfModel(): Insight {
  const insight = new Insights(grammar).of('app')
  const shapes = new ShapeBook()
  insight.shapeOf = (text, start, end) => {
    if (!SEEN.test(text.toString('latin1', start, end))) return null
    const shape = shapes.find(text, start, end)
    if (shape === null) return null
    if (shape.judgedBy === 0) shape.took(0.1)
    shape.judgedBy = Number.POSITIVE_INFINITY
    shape.refusal = null
    return shape
  }
  return insight
}

const SEEN = /^select seen\(/

const LITERAL = `'(?:[^']|'')*'`
/** A setting of nobody's but those who name it, which Postgres does not report. */
export const LITTER = 'litter.of'
const SHOWN = [
  'application_name',
  'timezone',
  'datestyle',
  'work_mem',
  'session_authorization',
  LITTER,
] as const

/** What the model has seen of nonces; a check finds `faults` empty. */
export class NonceBook {
  readonly faults: string[] = []
  readonly #runs = new Map<string, number>()
  /** Whose transaction a session is in. */
  readonly #owners = new WeakMap<Session, string>()
  readonly #known = new WeakSet<Session>()

  ran(session: Session, nonce: string): void {
    const runs = (this.#runs.get(nonce) ?? 0) + 1
    this.#runs.set(nonce, runs)
    if (runs > 1) this.faults.push(`${nonce} was executed ${runs} times`)
    this.seen(session, nonce)
  }

  /** It may run again, but nowhere else than where it belongs. */
  seen(session: Session, nonce: string): void {
    this.#watch(session)
    const client = nonce.split(':')[0]!
    const owner = this.#owners.get(session)
    if (owner !== undefined && owner !== client) this.faults.push(`${nonce} ran in a transaction of ${owner}`)
    this.#owners.set(session, client)
    const name = session.settings.get('application_name')
    if (name !== '' && !name.startsWith(`${client}.`))
      this.faults.push(`${nonce} ran under the settings of ${name}`)
  }

  /** Forget the owner when the transaction ends. */
  #watch(session: Session): void {
    if (this.#known.has(session)) return
    this.#known.add(session)
    const { tx } = session
    const [commit, abort] = [tx.commit.bind(tx), tx.abort.bind(tx)]
    tx.commit = () => {
      this.#owners.delete(session)
      commit()
    }
    tx.abort = () => {
      this.#owners.delete(session)
      abort()
    }
  }
}

const books = new WeakMap<FakeCluster, NonceBook>()

export function bookOf(cluster: FakeCluster): NonceBook {
  return books.get(cluster)!
}

/** `select nonce('c1:2')` and `select nonce($1, 'label')`; the same with `seen`, which only reads. */
export function teachNonces(cluster: FakeCluster): void {
  const book = new NonceBook()
  books.set(cluster, book)
  const columns = ['nonce', 'label', ...SHOWN].map((name) => ({ name, type: 25, size: -1 }))
  cluster.rules.push({
    match: new RegExp(`^select (nonce|seen)\\((${LITERAL}|\\$1)(?:, (${LITERAL}))?\\)$`, 'i'),
    make: ([, what = '', source = '', label = "''"]) => ({
      form: 'rows',
      tag: 'SELECT',
      columns,
      *rows(session, params) {
        const nonce = source === '$1' ? (params[0] ?? '') : source.slice(1, -1)
        if (what === 'nonce') book.ran(session, nonce)
        else book.seen(session, nonce)
        const settings = SHOWN.map((name) => (session.settings.has(name) ? session.settings.get(name) : ''))
        yield { kind: 'row', row: [nonce, label.slice(1, -1), ...settings] }
      },
    }),
  })
}

export const LITTER_SHOWN = `select coalesce(current_setting('${LITTER}', true), '')`

const FROM_SQL = 'from pg_catalog\\.pg_prepared_statement\\(\\) where from_sql'
const OF_SQL = { sql: 'prepare', statement: { form: 'empty' }, types: [] } as const

const preparedInSql = ({ statements }: Session) => [...statements.values()].filter((one) => one === OF_SQL)

const oneColumn = (rows: (session: Session) => (string | null)[]): ReturnType<Rule['make']> => ({
  form: 'rows',
  tag: 'SELECT',
  columns: [{ name: 'column', type: 25, size: -1 }],
  *rows(session) {
    for (const value of rows(session)) yield { kind: 'row', row: [value] }
  },
})

const LEFT_BEHIND: readonly Rule[] = [
  {
    match: /^select coalesce\(current_setting\('litter\.of', true\), ''\)$/,
    make: () => oneColumn(({ settings }) => [settings.has(LITTER) ? settings.get(LITTER) : '']),
  },
  {
    match: /^prepare (\w+) as select 1$/,
    make: ([, name = '']) => ({
      form: 'command',
      run({ statements }) {
        if (statements.has(name)) throw new PgError('42P05', `prepared statement "${name}" already exists`)
        statements.set(name, OF_SQL)
        return 'PREPARE'
      },
    }),
  },
  {
    match: /^select pg_catalog\.pg_advisory_unlock_all\(\)$/i,
    make: () => oneColumn(() => ['']),
  },
  {
    match: new RegExp(`^select 1 ${FROM_SQL}$`, 'i'),
    make: () => oneColumn((session) => preparedInSql(session).map(() => '1')),
  },
  {
    match: new RegExp(`^select pg_catalog\\.int4div\\(.*\\) ${FROM_SQL}$`, 'i'),
    make: () =>
      oneColumn((session) => {
        if (preparedInSql(session).length > 0) throw new PgError('22012', 'division by zero')
        return []
      }),
  },
]

/** What is left behind, and how a reset looks for it. */
export function teachLitter(cluster: FakeCluster): void {
  cluster.rules.push(...LEFT_BEHIND)
}
