// The rows of several processes as one table: each column by its rule, and nothing lost where there is none.
import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { COMMANDS } from '../../../src/admin/console/commands.ts'
import { isAskedOfAll, isDoneByAll, mergeAll, partsOf } from '../../../src/admin/console/merge.ts'
import type { Command } from '../../../src/admin/console/types.ts'
import type { Value } from '../../../src/wire/rows.ts'

function command(name: string): Command {
  const found = COMMANDS.find((one) => one.name === name)
  assert.ok(found !== undefined, name)
  return found
}

/** A row with these columns, all others 0 or ''. */
function row(name: string, values: Record<string, Value>): Value[] {
  return (command(name).columns ?? []).map(({ name: column, type }) =>
    column in values ? (values[column] as Value) : type === 'text' ? '' : 0,
  )
}

/** What comes of these rows, one list for each process, in these columns. */
function merged(name: string, lists: Record<string, Value>[][], columns: string[]): Value[][] {
  const rows = lists.map((list) => list.map((values) => row(name, values)))
  const names = (command(name).columns ?? []).map((column) => column.name)
  const all = mergeAll([{ command: command(name), lists: rows }])
  return all.map((one) => columns.map((column) => one[names.indexOf(column)] as Value))
}

describe('rows of several processes', () => {
  it('about one pool are added up; who waits longest is shown', () => {
    const one = { database: 'b', user: 'u', pool_mode: 'transaction' }
    const lists = [
      [
        { ...one, cl_active: 2, maxwait: 1, maxwait_us: 900 },
        { database: 'pgmux', user: 'pgmux', cl_active: 1 },
      ],
      [
        { ...one, database: 'a' },
        { ...one, cl_active: 3, maxwait: 2, maxwait_us: 5 },
      ],
    ]
    assert.deepEqual(merged('SHOW POOLS', lists, ['database', 'cl_active', 'maxwait', 'maxwait_us']), [
      ['a', 0, 0, 0],
      ['b', 5, 2, 5],
      ['pgmux', 1, 0, 0],
    ])
  })

  it('about one database keep its limits and add up what is there', () => {
    const one = { name: 'a', port: 5432, pool_size: 20, max_connections: 7 }
    const lists = [[{ ...one, current_connections: 2 }], [{ ...one, current_connections: 3, paused: 1 }]]
    const columns = ['port', 'pool_size', 'max_connections', 'current_connections', 'paused']
    assert.deepEqual(merged('SHOW DATABASES', lists, columns), [[5432, 20, 7, 5, 1]])
  })

  it('have averages that count as much as they are averages of', () => {
    const lists = [
      [{ database: 'a', total_xact_count: 30, avg_xact_count: 3, avg_xact_time: 100 }],
      [{ database: 'a', total_xact_count: 10, avg_xact_count: 1, avg_xact_time: 500 }],
    ]
    const columns = ['total_xact_count', 'avg_xact_count', 'avg_xact_time']
    assert.deepEqual(merged('SHOW STATS', lists, columns), [[40, 4, 200]])
    const totals = (time: number, count: number): Record<string, Value>[] => [
      { name: 'total_xact_count', value: 10 },
      { name: 'avg_xact_count', value: count },
      { name: 'avg_xact_time', value: time },
    ]
    assert.deepEqual(merged('SHOW TOTALS', [totals(100, 3), totals(500, 1)], ['name', 'value']), [
      ['total_xact_count', 20],
      ['avg_xact_count', 4],
      ['avg_xact_time', 200],
    ])
  })

  it('about one error tell of the last one', () => {
    const one = { reason: 'r', sqlstate: '53300', first_time: '10:00', last_time: '10:05', count: 2, age: 60 }
    const other = { ...one, first_time: '09:00', last_time: '10:06', age: 5, last_user: 'eve' }
    const columns = ['count', 'first_time', 'last_time', 'age', 'last_user']
    assert.deepEqual(merged('SHOW ERRORS', [[{ ...one, last_user: 'adam' }], [other]], columns), [
      [4, '09:00', '10:06', 5, 'eve'],
    ])
  })

  it('about a host say that it is up if one has reached it', () => {
    const host = (state: string): Record<string, Value>[] => [{ database: 'a', state, logins: 2 }]
    const lists = [host('unknown'), host('down'), host('up'), host('down')]
    assert.deepEqual(merged('SHOW HOSTS', lists, ['state', 'logins']), [['up', 8]])
  })

  it('about connections all stay', () => {
    const lists = [[{ id: 2 }, { id: 4 }], [{ id: 3 }]]
    assert.deepEqual(merged('SHOW CLIENTS', lists, ['id']), [[2], [4], [3]])
  })

  it('that count what may be in several are counted anew', () => {
    const names = partsOf('SHOW LISTS')
    assert.deepEqual(names, ['SHOW LISTS', 'SHOW DATABASES', 'SHOW USERS', 'SHOW POOLS'])
    const lists: Value[][] = ['databases', 'pools', 'users', 'used_clients'].map((name) => [name, 3])
    const rows = (name: string): Value[][][] => {
      if (name === 'SHOW LISTS') return [lists, lists]
      const one = row(name, { name: 'a', database: 'a' })
      return [[one], [one, row(name, { name: 'b', database: 'b' })]]
    }
    assert.deepEqual(mergeAll(names.map((name) => ({ command: command(name), lists: rows(name) }))), [
      ['databases', 2],
      ['pools', 2],
      ['users', 2],
      ['used_clients', 6],
    ])
  })
})

describe('commands', () => {
  it('that change something are done by all, but for those that the first process does', () => {
    const alone = COMMANDS.filter((one) => one.role === 'admin' && !isDoneByAll(one)).map(({ name }) => name)
    assert.deepEqual(alone, ['RELOAD', 'SET', 'SHUTDOWN'])
  })

  it('that show something are asked of all, but for what is the same in each', () => {
    const shows = COMMANDS.filter(({ name }) => name.startsWith('SHOW '))
    const same = shows.filter((one) => !isAskedOfAll(one)).map(({ name }) => name.slice('SHOW '.length))
    assert.deepEqual(same.sort(), [
      ...['CONFIG', 'DNS_HOSTS', 'DNS_ZONES', 'HELP', 'PEERS', 'PEER_POOLS', 'STATE', 'VERSION'],
    ])
  })

  it('name columns that there are', () => {
    for (const one of COMMANDS.filter((each) => isAskedOfAll(each) && partsOf(each.name).length === 1)) {
      const rows = [(one.columns ?? []).map(({ type }): Value => (type === 'text' ? 'x' : 1))]
      const [found] = mergeAll([{ command: one, lists: [rows, rows] }])
      const isRight = found?.every((value) => value !== undefined && !Number.isNaN(value))
      assert.ok(isRight, `${one.name}: ${found?.join(' ')}`)
    }
  })
})
