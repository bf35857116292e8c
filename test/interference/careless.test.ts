// Whether the scripts can fail at all: on a connection that A and B share without any care, each of them has
// to differ as soon as B does no more than what the script's own file is about. `LONG=1`: all of them.
import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { Arena } from './arena.ts'
import { firstDifference } from './difference.ts'
import { SET_ALL, STATEMENTS } from './hostile-acts.ts'
import { allScripts, type Script } from './script.ts'

const prepared = ['q', 'q2', ...STATEMENTS].map((q) => `prepare ${q} as select 'B'`)
const statements = `deallocate all; ${prepared.join('; ')}`

/** What B does between A's requests, by the file of the script. */
const ACTS: Readonly<Record<string, string>> = {
  'backend-state': 'select setseed(0.25)',
  baselines: SET_ALL,
  copy: SET_ALL,
  cursors: 'close all',
  'custom-names': SET_ALL,
  discard: `${SET_ALL}; ${statements}`,
  encodings: SET_ALL,
  errors: SET_ALL,
  hidden: SET_ALL,
  'large-objects': SET_ALL,
  listen: 'unlisten *; listen b_channel; notify b_channel',
  locks: 'select pg_advisory_unlock_all(), pg_advisory_lock_shared(990001)',
  prepare: statements,
  protocol: `${statements}; ${SET_ALL}`,
  roles: 'set session authorization {bob}; set role {alice}',
  sequences: "discard sequences; select nextval('hostile.numbers')",
  'set-config': SET_ALL,
  settings: SET_ALL,
  show: `${SET_ALL}; ${statements}; select pg_advisory_lock_shared(990001)`,
  temp: 'discard temp; create temp table items as select 1 as id; create temp table scratch as select 1 as b',
  transactions: SET_ALL,
  'two-phase': `${SET_ALL}; ${statements}`,
}

/** Scripts in which B's acts change nothing that A could see. */
const POWERLESS: ReadonlySet<string> = new Set([
  // They are about what A leaves behind.
  'backend-state › LOAD brings settings that were unknown',
  'backend-state › LOAD of nothing, and twice',
  'backend-state › DISCARD ALL does not unload',
  'backend-state › a name set before its library is loaded',
  'custom-names › a name of a prefix that belongs to a loaded library',
  'two-phase › transaction locks are prepared with it',
  // Errors, which are the same in each session.
  'baselines › options that are wrong',
  'baselines › a startup parameter that is wrong',
  "baselines › one that only Postgres' configuration can set",
  'baselines › role at the start',
  'copy › COPY TO PROGRAM and files need rights of A',
  'cursors › DECLARE that fails',
  'cursors › without HOLD it needs a transaction',
  'custom-names › RESET of a name never set',
  'custom-names › three parts and wrong names',
  'protocol › a row limit outside a transaction',
  'protocol › the unnamed statement after a simple query',
  'settings › one that only a new session can set, and one that cannot be set',
  // All of it is in one exchange or one transaction, where nobody comes between.
  'cursors › rolled back',
  'cursors › WITHOUT HOLD and INSENSITIVE',
  'cursors › a cursor of PL/pgSQL, by its name',
  'cursors › WHERE CURRENT OF',
  'listen › in one exchange',
  'protocol › the function call of lower, and of nothing',
  'sequences › in one transaction',
  'show › the same process in one transaction',
  'show › transaction_timestamp stands still in a transaction only',
  'show › snapshots and transaction ids',
  'transactions › a custom name known only to a transaction',
  // They set what B would need a role, or a name, of A's own for.
  'hidden › SET ROLE in a function',
  'hidden › SET ROLE in a DO block',
  'roles › a role without rights of its own',
  'roles › a privileged setting, given by a function',
  'set-config › with parameters',
  'set-config › with parameters, a gap behind each',
  'set-config › role and session authorization by set_config',
])

const LONG = process.env.LONG === '1'
const ONLY = process.env.ONLY ?? ''
/** Otherwise one script of each file, this one of them. */
const SAMPLE = 1

const arena = await Arena.open()
const plain = await arena.side('direct', null)
const shared = await arena.side('careless', null)

async function differs(script: Script): Promise<boolean> {
  const expected = await plain.run(script, 'simple')
  const told = await shared.runCarelessly(script, 'simple', ACTS[script.file] as string)
  return firstDifference(expected, told, true) !== null
}

function picked(): Script[] {
  const all = allScripts().filter(({ name }) => name.includes(ONLY))
  if (LONG) return all
  const candidates = all.filter(({ name }) => !POWERLESS.has(name))
  return Object.keys(ACTS).flatMap((file) =>
    candidates.filter((script) => script.file === file).slice(0, SAMPLE),
  )
}

describe('on a connection without any care', () => {
  for (const script of picked()) {
    it(`${script.name} differs`, async () => {
      const isSame = !(await differs(script))
      assert.equal(isSame, POWERLESS.has(script.name), isSame ? 'it cannot fail' : 'take it off the list')
    })
  }
})
