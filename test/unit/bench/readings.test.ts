// What the bench reads: pgbench's report, /proc, CPU profiles, versions. The texts are of those programs.
import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { isAtLeast } from '../../../bench/peers.ts'
import { parseReport } from '../../../bench/pgbench.ts'
import { cpuTimeOf, parseStat, peakMemoryOf } from '../../../bench/process-stat.ts'
import { topFunctions } from '../../../bench/profile.ts'

const REPORT_15 = `pgbench (15.18)
transaction type: <builtin: select only>
query mode: simple
number of clients: 64
number of transactions actually processed: 45551
number of failed transactions: 0 (0.000%)
latency average = 4.102 ms
latency stddev = 1.907 ms
initial connection time = 61.204 ms
tps = 15488.254101 (without initial connection time)`.split('\n')

describe('a report of pgbench', () => {
  it('is read', () => {
    const read = { transactions: 45_551, tps: 15_488.254_101, latencyAverage: 4.102, latencyDeviation: 1.907 }
    assert.deepEqual(parseReport(REPORT_15), read)
  })

  it('of version 13 counts the same way', () => {
    const lines = [
      'number of transactions actually processed: 10',
      'latency average = 1.000 ms',
      'tps = 99.5 (including connections establishing)',
      'tps = 100.5 (excluding connections establishing)',
    ]
    assert.deepEqual(parseReport(lines), {
      transactions: 10,
      tps: 100.5,
      latencyAverage: 1,
      latencyDeviation: null,
    })
  })

  it('of an aborted run is none, however good its figures look', () => {
    const aborted =
      'pgbench: error: client 3 aborted in command 1 (SQL) of script 0; perhaps the backend died'
    assert.equal(parseReport([aborted, ...REPORT_15]), aborted)
    const late = 'Run was aborted; the above results are incomplete.'
    assert.equal(parseReport([...REPORT_15, late]), late)
  })

  it('with failed transactions is none', () => {
    const lines = REPORT_15.map((line) => line.replace('failed transactions: 0', 'failed transactions: 7'))
    assert.equal(parseReport(lines), '7 transactions failed')
  })

  it('of nothing is none', () => {
    assert.equal(parseReport([]), 'pgbench printed no result')
    const lines = REPORT_15.map((line) => line.replace('processed: 45551', 'processed: 0'))
    assert.equal(parseReport(lines), 'not one transaction was done')
  })
})

describe('/proc', () => {
  it('a program may have any name', () => {
    const line = '42 (a) b (c) S 1 42 42 0 -1 4194304 10 0 0 0 700 300 20 5 20 0 11 0 5 1 1 1'
    assert.deepEqual(parseStat(line), { user: 720, system: 305 })
  })

  it('tells of this process, or nothing at all', {
    skip: process.platform !== 'linux' && 'needs /proc',
  }, () => {
    assert.ok(cpuTimeOf(process.pid)!.user > 0)
    assert.ok(peakMemoryOf(process.pid)! > 1024)
  })

  it('a process that has ended has no figure', () => {
    assert.equal(cpuTimeOf(2 ** 30), null)
    assert.equal(peakMemoryOf(2 ** 30), null)
  })
})

describe('a CPU profile', () => {
  const url = new URL('../../../src/main.ts', import.meta.url).href
  const frame = (functionName: string, at = '') => ({ functionName, url: at, lineNumber: 9 })
  const profile = {
    startTime: 1000,
    nodes: [
      { id: 1, callFrame: frame('(idle)') },
      { id: 2, callFrame: frame('serve', url) },
      { id: 3, callFrame: frame('write') },
      { id: 4, callFrame: frame('serve', url) },
    ],
    samples: [2, 3, 1, 4, 2, 3],
    timeDeltas: [100, 100, 100, 100, 100, 100],
  }

  it('counts what lies in the stretch, without idle time', () => {
    const top = topFunctions(profile, { from: 1150, to: 1550 }, 10)
    assert.deepEqual(
      top.map(({ name, place, share }) => [name, place, Math.round(share * 300)]),
      [
        ['serve', 'src/main.ts:10', 200],
        ['write', '', 100],
      ],
    )
    assert.deepEqual(topFunctions(profile, { from: 5000, to: 6000 }, 10), [])
  })
})

describe('versions', () => {
  it('are compared as numbers', () => {
    const known = ['1.18.0', '1.20.1', '1.21.0', '1.25.2', '2.0', 'unknown']
    assert.deepEqual(
      known.map((version) => isAtLeast(version, [1, 21])),
      [false, false, true, true, true, false],
    )
  })
})
