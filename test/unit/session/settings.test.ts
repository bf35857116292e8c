// Settings compared by identity, their differences, and the key of what parse analysis reads.

import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import fc from 'fast-check'
import { baselineOf, parametersOf, wishesOf } from '../../../src/session/baseline.ts'
import { isCarried, SettingsTable } from '../../../src/session/settings.ts'

const NAMES = ['application_name', 'client_encoding', 'DateStyle', 'TimeZone', 'search_path', 'IntervalStyle']
const values = fc.dictionary(fc.constantFrom(...NAMES), fc.constantFrom('a', 'b', '', 'c'))
const asMap = (record: Record<string, string>) => new Map(Object.entries(record))

describe('settings', () => {
  it('are one object for equal values, in whatever order', () => {
    const table = new SettingsTable()
    fc.assert(
      fc.property(values, values, (one, other) => {
        const [a, b] = [table.of(asMap(one)), table.of(asMap(other))]
        const isEqual =
          Object.keys(one).length === Object.keys(other).length && NAMES.every((n) => one[n] === other[n])
        assert.equal(a === b, isEqual)
        assert.equal(table.of(new Map([...asMap(one)].reverse())), a)
      }),
    )
  })

  it('do not take neighbouring names and values for others', () => {
    const table = new SettingsTable()
    assert.notEqual(table.of(new Map([['a', 'bc']])), table.of(new Map([['ab', 'c']])))
    assert.notEqual(table.of(new Map([['a', '']])), table.of(new Map()))
  })

  it('that are forgotten do not keep those that came from them', () => {
    const table = new SettingsTable()
    const first = table.of(new Map([['application_name', 'first']]))
    // A client that names each of its requests: from each settings one step to the next.
    let last = first
    for (let request = 0; request < 20_000; request++) last = last.with('application_name', `${request}`)
    assert.equal(first.next.size, 0)
    assert.equal(table.of(new Map([['application_name', '19999']])), last)
  })

  it('change one value without changing the others', () => {
    const table = new SettingsTable()
    const first = table.of(new Map([['TimeZone', 'UTC']]))
    const second = first.with('DateStyle', 'ISO')
    assert.equal(first.with('TimeZone', 'UTC'), first)
    assert.equal(first.with('DateStyle', 'ISO'), second)
    assert.equal(second, table.of(asMap({ DateStyle: 'ISO', TimeZone: 'UTC' })))
    assert.equal(first.values.has('DateStyle'), false)
  })

  it('are reached by setting the differences, client_encoding first', () => {
    const table = new SettingsTable()
    fc.assert(
      fc.property(values, values, (from, to) => {
        const wanted = table.of(asMap({ ...from, ...to }))
        let settings = table.of(asMap(from))
        const list = wanted.changesFrom(settings)
        const encoding = list.findIndex(([name]) => name === 'client_encoding')
        assert.ok(encoding <= 0)
        for (const [name, value] of list) if (value !== null) settings = settings.with(name, value)
        assert.equal(settings, wanted)
      }),
    )
  })

  it('have the same parse key exactly when Postgres makes the same of a text', () => {
    const table = new SettingsTable()
    const base = table.of(asMap({ TimeZone: 'UTC', application_name: 'a' }))
    assert.equal(base.with('application_name', 'b').parseKey, base.parseKey)
    const analysed = ['TimeZone', 'DateStyle', 'IntervalStyle', 'search_path', 'client_encoding']
    const rewritten = ['row_security', 'restrict_nonsystem_relation_kind', 'session_replication_role']
    const planned = ['extra_float_digits', 'bytea_output']
    for (const name of [...analysed, ...rewritten, ...planned]) {
      assert.notEqual(base.with(name, 'other').parseKey, base.parseKey, name)
    }
    assert.ok(base.parseKey > 0)
  })

  it('are not what the server or the login decides', () => {
    for (const name of ['server_version', 'is_superuser', 'session_authorization', 'in_hot_standby']) {
      assert.equal(isCarried(name), false, name)
    }
    assert.equal(isCarried('TimeZone'), true)
  })
})

describe('baseline', () => {
  it('is empty for a client without wishes', () => {
    const wishes = wishesOf(asMap({ user: 'a', database: 'b', replication: 'off' }), 'transaction')
    assert.equal(wishes.baseline, '')
    assert.equal(wishes.carried.size, 0)
  })

  it('carries what Postgres reports, under its spelling, and keeps the rest in the key', () => {
    const wishes = wishesOf(asMap({ timezone: 'UTC', options: '-c geqo=off' }), 'transaction')
    assert.deepEqual([...wishes.carried], [['TimeZone', 'UTC']])
    assert.deepEqual([...parametersOf(wishes.baseline)], [['options', '-c geqo=off']])
  })

  it('holds everything in session mode', () => {
    const wishes = wishesOf(asMap({ user: 'x', TimeZone: 'UTC', application_name: 'a' }), 'session')
    assert.equal(wishes.carried.size, 0)
    assert.equal(parametersOf(wishes.baseline).size, 2)
  })

  it('is the same for the same parameters in any order, and only for those', () => {
    const pairs = fc.uniqueArray(fc.tuple(fc.string(), fc.string()), {
      selector: ([name]) => name.toLowerCase(),
      maxLength: 5,
    })
    fc.assert(
      fc.property(pairs, pairs, (one, other) => {
        const key = baselineOf(one)
        assert.equal(baselineOf([...one].reverse()), key)
        assert.deepEqual(new Map(parametersOf(key)), new Map(one))
        const isSame =
          one.length === other.length && one.every(([n, v]) => other.some(([m, w]) => n === m && v === w))
        assert.equal(baselineOf(other) === key, isSame)
      }),
    )
  })

  it('of a name given twice in different case keeps which came last', () => {
    const one = baselineOf([
      ['Work_mem', '1'],
      ['work_mem', '2'],
    ])
    const other = baselineOf([
      ['work_mem', '2'],
      ['Work_mem', '1'],
    ])
    assert.notEqual(one, other)
  })
})
