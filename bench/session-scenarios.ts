// What is measured of sessions in transaction mode, and what is asked of it. Data only.
import { ACCOUNTS_PER_SCALE, SELECT_SCALE } from './scenarios.ts'

/** One row of the comparison: a script of pgbench on one way to Postgres. */
export interface SessionRow {
  /** Rows of one group are compared with its first row. */
  readonly group: 'settings' | 'set local'
  readonly peer: 'direct' | 'pgmux'
  readonly title: string
  readonly script: string
}

/** Least rate with one SET for each session, of two values, to the rate without it. */
export const LEAST_SET = 0.9
/** Least rate with SET LOCAL to that with another statement in its place, to what that is directly. */
export const LEAST_LOCAL = 0.95

const SELECT = `\\set aid random(1, ${ACCOUNTS_PER_SCALE * SELECT_SCALE})
SELECT abalance FROM pgbench_accounts WHERE aid = :aid;`

/** Selects by key; the first transaction of a connection is another one. */
const selects = (first: string): string => `\\if :started
${SELECT}
\\else
\\set started 1
${first}
\\endif
`

const transaction = (first: string): string => `BEGIN;\n${first}\n${SELECT}\nCOMMIT;\n`

/** In place of what is measured: a statement that changes nothing and is answered as briefly. */
const NOTHING = 'SELECT WHERE false;'
const LOCAL = "SET LOCAL work_mem = '5MB';"
const TITLES = { select: 'transaction with another statement', local: 'transaction with SET LOCAL' } as const

const local = (peer: SessionRow['peer']): SessionRow[] => [
  { group: 'set local', peer, title: TITLES.select, script: transaction(NOTHING) },
  { group: 'set local', peer, title: TITLES.local, script: transaction(LOCAL) },
]

/** What the scenario measures. */
export const SESSION_ROWS: readonly SessionRow[] = [
  { group: 'settings', peer: 'pgmux', title: 'no SET', script: selects(NOTHING) },
  {
    group: 'settings',
    peer: 'pgmux',
    title: 'a SET for each session, two values',
    script: selects('\\set kb 5000 + :client_id % 2\nSET work_mem = :kb;'),
  },
  {
    group: 'settings',
    peer: 'pgmux',
    title: 'a SET for each session, one value for each two clients',
    script: selects('\\set kb 5000 + :client_id / 2\nSET work_mem = :kb;'),
  },
  ...local('direct'),
  ...local('pgmux'),
]
