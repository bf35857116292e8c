// The parts of the dashboard's page that know no browser: its sentences, its words for times, and the hour
// that it keeps. The page is JavaScript of its own; its shapes are written down here as far as they are used.
import assert from 'node:assert/strict'
import { suite, test } from 'node:test'
import type { CauseRow, HolderRow } from '../../../src/admin/dashboard/types.ts'
import type { PinReason } from '../../../src/session/pins.ts'

interface Words {
  duration(ms: number): string
  took(ms: number | null): string
  bytes(count: number): string
  instant(text: string | null): number | null
  titleOf(cause: object): string
  adviceOf(cause: object): string
  sentenceOf(snapshot: object): { level: string; text: string; topic: string }
}

interface Past {
  readonly times: number[]
  replace(history: object): void
  add(sample: object): void
  since(names: string[], from: number): (number | null)[][]
}

const folder = new URL('../../../src/admin/page/', import.meta.url)
const part = async (name: string): Promise<unknown> => import(new URL(name, folder).href)
const words = { ...((await part('words.js')) as object), ...((await part('causes.js')) as object) } as Words
const { Past } = (await part('history.js')) as { Past: new () => Past }
const { PIN_WORDS } = (await part('pin-words.js')) as { PIN_WORDS: Record<string, string> }

const AT = Date.parse('2026-01-31T10:00:00Z')
const HOLDER: HolderRow = {
  ...{
    id: 7,
    address: '10.0.0.1',
    application_name: 'app',
    state: 'active',
    seconds: 3,
    statement: 'select ?',
  },
  pins: '',
}
const CAUSE: CauseRow = {
  ...{ database: 'shop', user: 'web', reason: 'pool_full', cause: '', advice: '' },
  ...{ clients: 12, longest_ms: 34_000, holder: HOLDER },
}

function sentence(causes: readonly object[], more: object = {}): string {
  const snapshot = { at: AT, state: 'active', causes, hosts: [], paused: [], ...more }
  const { level, text } = words.sentenceOf(snapshot)
  return `${level}: ${text.replaceAll('\u00a0', ' ').replace(/since \d\d:\d\d:\d\d/, 'since T')}`
}

suite('the sentence about the state', () => {
  const WAIT = '12 clients wait for a server, the first since T (for 34 s)'
  const cases: [name: string, causes: object[], more: object, expected: string][] = [
    ['nobody waits', [], {}, 'good: All is well: no client waits.'],
    [
      'a pool too small',
      [CAUSE],
      {},
      `bad: ${WAIT}, because the pool of web at shop is too small for what its clients do.`,
    ],
    [
      'somebody is idle in a transaction',
      [{ ...CAUSE, holder: { ...HOLDER, state: 'idle in transaction (temp)' } }],
      {},
      `bad: ${WAIT}, because client 7 has begun a transaction and does nothing.`,
    ],
    [
      'a pin',
      [{ ...CAUSE, holder: { ...HOLDER, state: 'pinned (temp, cursor)', pins: 'temp, cursor' } }],
      {},
      `bad: ${WAIT}, because client 7 keeps its server beyond its transactions: ` +
        'temporary objects, a cursor WITH HOLD.',
    ],
    [
      'Postgres is down',
      [{ ...CAUSE, clients: 1, reason: 'host_down', holder: null }],
      {},
      'bad: 1 client waits for a server, since T (for 34 s), because Postgres behind database shop ' +
        'cannot be reached.',
    ],
    [
      'several causes',
      [CAUSE, { ...CAUSE, clients: 3, reason: 'paused', holder: null }],
      {},
      `bad: 15 ${WAIT.slice(3)}, mostly because the pool of web at shop is too small for what its ` +
        'clients do.',
    ],
    [
      'short waits of a busy pool',
      [{ ...CAUSE, longest_ms: 12 }],
      {},
      'good: All is well: 12 clients wait at this moment, none for longer than 12 ms.',
    ],
    [
      'down, and nobody waits',
      [],
      { hosts: [{ database: 'shop', state: 'down' }] },
      'bad: Postgres behind shop cannot be reached. Nobody waits for it now.',
    ],
    ['paused by name', [], { paused: ['shop'] }, 'fair: shop is paused; nobody waits yet.'],
    ['all paused', [], { state: 'paused' }, 'fair: Everything is paused: nobody waits yet.'],
    ['the end', [CAUSE], { state: 'draining' }, 'bad: pgmux is shutting down: it takes no new clients.'],
  ]
  for (const [name, causes, more, expected] of cases)
    test(name, () => assert.equal(sentence(causes, more), expected))

  test('blames nobody who is in the way by chance', () => {
    const idle = { ...CAUSE, cause: '5 idle in transaction', advice: 'KILL_CLIENT 7' }
    const at = (seconds: number) => ({
      ...idle,
      holder: { ...HOLDER, state: 'idle in transaction', seconds },
    })
    assert.equal(words.titleOf(at(0)), 'The pool is too small: all its servers are at work')
    assert.doesNotMatch(words.adviceOf(at(0)), /KILL/)
    assert.equal(words.titleOf(at(1)), '5 clients are idle in transactions')
    assert.equal(words.adviceOf(at(1)), 'KILL_CLIENT 7')
    assert.match(sentence([at(1)]), /because client 7 and 4 others have begun transactions and do nothing/)
  })

  test('is about the same while only its numbers change', () => {
    const of = (cause: object): string =>
      words.sentenceOf({ at: AT, state: 'active', causes: [cause], hosts: [] }).topic
    assert.equal(of(CAUSE), of({ ...CAUSE, clients: 13, longest_ms: 35_000 }))
    assert.notEqual(of(CAUSE), of({ ...CAUSE, holder: { ...HOLDER, id: 8 } }))
  })
})

test('times and sizes in words', () => {
  const said = [340, 34_000, 192_000, 7_500_000, 273_600_000].map(words.duration)
  assert.deepEqual(
    said.map((text) => text.replaceAll('\u00a0', ' ')),
    ['340 ms', '34 s', '3 min 12 s', '2 h 5 min', '3 d 4 h'],
  )
  assert.deepEqual(
    [0.42, 12, 1240, null].map(words.took).map((text) => text.replaceAll('\u00a0', ' ')),
    ['0.4 ms', '12 ms', '1.2 s', '\u2013'],
  )
  assert.deepEqual([999, 1500, 92e6].map(words.bytes), ['999 B', '1.5 kB', '92 MB'])
  assert.equal(words.instant('2026-01-31 10:00:00 UTC'), AT)
  assert.equal(words.instant(null), null)
})

test('each reason of a pin has words', () => {
  const reasons: Record<PinReason, true> = {
    ...{ session: true, listen: true, sql_prepare: true, large_statement: true, temp: true },
    ...{ advisory_lock: true, cursor: true, backend_state: true, custom_setting: true },
    ...{ privileged_setting: true, by_hand: true, custom_name: true, sequence: true },
  }
  assert.deepEqual(Object.keys(PIN_WORDS).sort(), Object.keys(reasons).sort())
})

test('of many clients those that wait are shown', async () => {
  type Rows = { rows: { id: number }[]; more: boolean }
  const { someOf } = (await part('clients.js')) as {
    someOf(filters: object, ask: (filters: { state?: string }) => Promise<Rows>): Promise<Rows>
  }
  const from = (first: number) => Array.from({ length: 200 }, (_, at) => ({ id: first + at }))
  const asked: object[] = []
  const ask = async (filters: { state?: string }): Promise<Rows> => {
    asked.push(filters)
    return filters.state === 'waiting'
      ? { rows: [{ id: 150 }, { id: 900 }], more: false }
      : { rows: from(1), more: true }
  }
  const { rows, more } = await someOf({ user: 'web', state: '' }, ask)
  assert.deepEqual([rows.length, rows[0]?.id, rows[1]?.id, more], [200, 150, 900, true])
  assert.equal(new Set(rows.map(({ id }) => id)).size, 200)
  assert.deepEqual(asked[1], { user: 'web', state: 'waiting', limit: 200 })
  await someOf({ state: 'idle' }, ask)
  assert.equal(asked.length, 3, 'who asks for a state gets that')
})

test('why one may not act, and where it is changed', async () => {
  const { hindranceOf } = (await part('session.js')) as { hindranceOf(me: object): string }
  const me = { user: 'viewer', role: 'stats', mayLook: true, hasAdmins: true }
  assert.equal(hindranceOf({ ...me, role: 'admin' }), '')
  assert.match(hindranceOf({ ...me, role: null }), /^To act, log in as a user of admin\.users\.$/)
  assert.match(hindranceOf(me), /^viewer may look only/)
  assert.match(
    hindranceOf({ ...me, role: null, hasAdmins: false }),
    /^Nobody may act here: admin\.users names/,
  )
})

suite('the hour', () => {
  test('never grows beyond it, however long the page is open', () => {
    const past = new Past()
    past.replace({ step: 2000, end: AT, series: { queries: [1, 2, null] } })
    assert.deepEqual(
      past.times.map((time) => time * 1000 - AT),
      [-4000, -2000, 0],
    )
    for (let step = 0; step <= 5000; step++)
      past.add({ at: AT + step * 2000, values: { queries: step, errors: 0 } })
    assert.equal(past.times.length, 1800)
    const [times, queries, errors, unknown] = past.since(['queries', 'errors', 'none'], AT / 1000 + 9995)
    assert.deepEqual(times, [AT / 1000 + 9996, AT / 1000 + 9998, AT / 1000 + 10_000])
    assert.deepEqual(
      [queries, errors, unknown],
      [
        [4998, 4999, 5000],
        [0, 0, 0],
        [null, null, null],
      ],
    )
  })

  test('a point that has come already is not there twice', () => {
    const past = new Past()
    past.replace({ step: 2000, end: AT, series: { queries: [1] } })
    past.add({ at: AT, values: { queries: 1 } })
    assert.equal(past.times.length, 1)
  })
})
