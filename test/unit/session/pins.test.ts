// The list of one session's pins, and what a watcher hears of it.
import assert from 'node:assert/strict'
import { beforeEach, describe, it } from 'node:test'
import { type PinHolder, Pins, type PinWatcher } from '../../../src/session/pins.ts'

const holder: PinHolder = {
  visitor: { address: '', user: '', database: '' },
  server: null,
  deliver: () => true,
  fatal: () => {},
}

describe('pins', () => {
  const heard: string[] = []
  const time = { now: 1000 }
  let mayPin = true
  let pins: Pins
  const watcher: PinWatcher = {
    time,
    refusalOf: () => null,
    refusalOfReason: () => null,
    onPin: (_, { reason, since, statement }) => {
      heard.push(`+${reason} ${since} ${statement}`)
      return mayPin
    },
    onUnpin: (_, { reason }) => void heard.push(`-${reason}`),
  }

  beforeEach(() => {
    heard.length = 0
    time.now = 1000
    mayPin = true
    pins = new Pins()
    pins.watch(watcher, holder)
  })

  it('are told when the transaction is over, once, and when they end', () => {
    pins.add('temp', 'create temp table')
    assert.deepEqual([pins.has('temp'), pins.size, pins.hasNews, heard.length], [true, 1, true, 0])
    pins.settle()
    pins.add('temp', 'another')
    pins.settle()
    assert.equal(pins.hasNews, false)
    pins.delete('temp')
    pins.delete('temp')
    assert.deepEqual(heard, ['+temp 1000 create temp table', '-temp'])
  })

  it('that a transaction has undone are never told', () => {
    pins.add('listen')
    pins.delete('listen')
    pins.settle()
    pins.end()
    assert.deepEqual(heard, [])
  })

  it('know since when there was one at all, and learn their statement later', () => {
    pins.add('temp')
    time.now = 2000
    pins.add('cursor', 'declare')
    pins.add('temp', 'create')
    pins.delete('cursor')
    pins.settle()
    assert.deepEqual([pins.since, heard], [1000, ['+temp 1000 create']])
    pins.delete('temp')
    pins.add('temp')
    assert.equal(pins.since, 2000)
  })

  it('end with their session, also where the watcher ends it', () => {
    pins.add('temp')
    pins.settle()
    pins.end()
    assert.deepEqual([pins.size, pins.holder, heard], [0, null, ['+temp 1000 ', '-temp']])
    pins.watch(watcher, holder)
    mayPin = false
    pins.add('cursor')
    pins.settle()
    pins.end()
    assert.deepEqual(heard.slice(2), ['+cursor 1000 '])
  })

  it('are kept without a watcher as well', () => {
    const alone = new Pins()
    alone.add('session')
    assert.deepEqual([alone.has('session'), alone.hasNews, alone.refusalOf(-1)], [true, false, null])
    alone.settle()
    alone.delete('session')
    assert.equal(alone.size, 0)
  })
})
