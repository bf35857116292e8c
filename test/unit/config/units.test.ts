// Durations, sizes, modes and addresses: what is accepted, what is refused.

import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { nearestName } from '../../../src/config/problems.ts'
import {
  isLoopbackHost,
  parseAddress,
  parseDuration,
  parseFileMode,
  parseSize,
} from '../../../src/config/units.ts'

describe('parseDuration', () => {
  const good: [string | number, number][] = [
    ['0', 0],
    [0, 0],
    ['0s', 0],
    ['250ms', 250],
    ['30s', 30_000],
    ['1.5s', 1500],
    ['5m', 300_000],
    ['5 m', 300_000],
    ['1h', 3_600_000],
    ['24d', 2_073_600_000],
  ]
  for (const [text, ms] of good) {
    it(`reads ${text}`, () => assert.equal(parseDuration(text), ms))
  }

  it('asks for a unit', () => {
    for (const text of [30, '30', '1.5', 1e3]) assert.throws(() => parseDuration(text), /add one$/)
  })

  it('refuses everything else', () => {
    for (const text of ['', '-1s', '1 year', 's', '1h30m', '1e3ms', -1, Number.NaN, '0x10s']) {
      assert.throws(() => parseDuration(text), /^Error: expects a duration/, String(text))
    }
    assert.throws(() => parseDuration('25d'), /at most 24d/)
    assert.throws(() => parseDuration('0.2ms'), /at least 1ms/)
  })
})

describe('parseSize', () => {
  it('reads bytes and binary units', () => {
    assert.equal(parseSize(4096), 4096)
    assert.equal(parseSize('4096'), 4096)
    assert.equal(parseSize('16KiB'), 16_384)
    assert.equal(parseSize('1.5KiB'), 1536)
    assert.equal(parseSize('64 MiB'), 67_108_864)
    assert.equal(parseSize('1GiB'), 1_073_741_824)
    assert.equal(parseSize('7B'), 7)
  })

  it('refuses everything else', () => {
    for (const text of ['', '1MB', '1k', '-1', -1, 1.5, '0.3B', '99999999999GiB']) {
      assert.throws(() => parseSize(text), /^Error: expects a size/, String(text))
    }
  })
})

describe('parseFileMode', () => {
  it('reads octal digits', () => {
    assert.equal(parseFileMode('0777'), 0o777)
    assert.equal(parseFileMode('600'), 0o600)
  })

  it('refuses everything else', () => {
    for (const text of ['', '9', '0o777', '888', '01777']) assert.throws(() => parseFileMode(text))
  })
})

describe('parseAddress', () => {
  it('reads names, IPv4 and IPv6', () => {
    assert.deepEqual(parseAddress('127.0.0.1:6432'), { host: '127.0.0.1', port: 6432 })
    assert.deepEqual(parseAddress('db.example.com:0'), { host: 'db.example.com', port: 0 })
    assert.deepEqual(parseAddress('[::1]:6432'), { host: '::1', port: 6432 })
    assert.deepEqual(parseAddress('[fe80::1%eth0]:1'), { host: 'fe80::1%eth0', port: 1 })
  })

  it('refuses everything else', () => {
    for (const text of ['', '6432', ':6432', '::1:6432', 'a:b', 'a:65536', 'a:1/', '[x y]:1', 'a:-1']) {
      assert.throws(() => parseAddress(text), /expects HOST:PORT/, text)
    }
  })
})

it('isLoopbackHost knows the addresses of this machine', () => {
  for (const host of ['127.0.0.1', '127.1.2.3', '::1', 'localhost', 'LOCALHOST'])
    assert.ok(isLoopbackHost(host))
  for (const host of ['0.0.0.0', '::', '10.0.0.1', '127.0.0.1.example.com', ''])
    assert.ok(!isLoopbackHost(host))
})

it('nearestName finds slips and nothing far away', () => {
  const known = ['size', 'min_size', 'mode', 'query_wait_timeout']
  assert.equal(nearestName('siz', known), 'size')
  assert.equal(nearestName('SIZE', known), 'size')
  assert.equal(nearestName('min-size', known), 'min_size')
  assert.equal(nearestName('mdoe', known), 'mode')
  assert.equal(nearestName('query_wait_time', known), 'query_wait_timeout')
  assert.equal(nearestName('elephants', known), null)
})
