// The screen of `pgmux top`: what keys do, what is sorted how, what is told of the time in between.
import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { linesOf, pressed, type Sample, screenOf, VIEWS } from '../../src/cli/top-view.ts'

const POOLS = VIEWS[0]!
const pool = (user: string, active: number) => ({
  database: 'app',
  user,
  pool_mode: 'transaction',
  cl_active: active,
  cl_waiting: 0,
})

function sample(more: Partial<Sample> = {}): Sample {
  const totals = { total_xact_count: 10, total_query_count: 20, total_query_time: 4000 }
  const rows = [pool('a', 2), pool('b', 30), pool('c', 2)]
  return { at: 0, version: 'pgmux 1', totals, lists: { used_clients: 4 }, waits: [], rows, ...more }
}

const users = (lines: readonly string[]) => lines.slice(4).map((line) => line.split(/\s+/)[1])

describe('keys', () => {
  it('choose a view, sort, reverse, end; others do nothing', () => {
    const screen = screenOf(POOLS)
    assert.equal(pressed(screen, 's').view.name, 'statements')
    assert.equal(pressed(screen, 'p'), screen)
    assert.equal(pressed(screen, 'x'), screen)
    assert.equal(pressed(screen, '>').sort, screen.sort + 1)
    assert.equal(pressed(screen, '\u001b[D').sort, screen.sort - 1)
    let left = screen
    for (let n = 0; n < 50; n++) left = pressed(left, '<')
    assert.equal(left.sort, 0)
    for (const key of ['q', '\u0003']) assert.equal(pressed(screen, key).isOver, true)
  })
})

describe('a screen', () => {
  it('has the rows sorted by numbers and by words, either way', () => {
    const screen = screenOf(POOLS)
    assert.deepEqual(users(linesOf(screen, sample(), null)), ['b', 'a', 'c'])
    assert.deepEqual(users(linesOf(pressed(screen, 'r'), sample(), null)), ['a', 'c', 'b'])
    const byUser = { ...screen, sort: 1 }
    assert.deepEqual(users(linesOf(byUser, sample(), null)), ['c', 'b', 'a'])
    assert.match(linesOf(byUser, sample(), null)[3] ?? '', /user-/)
  })

  it('tells what happened since the one before', () => {
    const totals = { total_xact_count: 30, total_query_count: 60, total_query_time: 8000 }
    const [first] = linesOf(screenOf(POOLS), sample({ at: 2000, totals }), sample())
    assert.equal(first, 'pgmux 1  4 clients  0 waiting  10 transactions/s  20 queries/s  100 us/query')
    assert.equal(linesOf(screenOf(POOLS), sample(), null)[0], 'pgmux 1  4 clients  0 waiting')
  })

  it('says why clients wait, without what a terminal would obey', () => {
    const wait = {
      ...{ database: 'a\u001b[2Jpp', user: 'u', wait: 7, cause: 'all are in use', holder_id: 5 },
      ...{ holder_addr: '::1', holder_state: 'active', holder_time: 3, holder_statement: 'select ?' },
      advice: 'raise pool.size',
    }
    const text = linesOf(screenOf(POOLS), sample({ waits: [wait, wait] }), null).join('\n')
    assert.match(
      text,
      /2 wait for a \[2Jpp\/u: all are in use, up to 7 s\n {2}client 5 \(::1\) is active for 3 s/,
    )
    assert.match(text, /\n {2}raise pool\.size\n/)
    assert.ok(!text.includes('\u001b'))
  })
})
