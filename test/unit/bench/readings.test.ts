// What the bench reads: pgbench's report, /proc, CPU profiles, versions. The texts are of those programs.
import assert from 'node:assert/strict'
import { execFileSync, spawn } from 'node:child_process'
import { once } from 'node:events'
import { describe, it } from 'node:test'
import { isAtLeast } from '../../../bench/peers.ts'
import { transactionTimes, turnTimes } from '../../../bench/latency-log.ts'
import { argumentsOf, parseReport } from '../../../bench/pgbench.ts'
import {
  cpuTimeOf,
  endedChildrenCpu,
  openFileLimit,
  parseStat,
  peakMemoryOf,
  resetPeakMemory,
} from '../../../bench/process-stat.ts'
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
    assert.deepEqual(parseReport(REPORT_15, false), { transactions: 45_551, tps: 15_488.254_101 })
  })

  it('of version 13 counts the same way', () => {
    const lines = [
      'number of transactions actually processed: 10',
      'latency average = 1.000 ms',
      'tps = 99.5 (including connections establishing)',
      'tps = 100.5 (excluding connections establishing)',
    ]
    assert.deepEqual(parseReport(lines, false), { transactions: 10, tps: 100.5 })
    assert.deepEqual(parseReport(lines, true), { transactions: 10, tps: 99.5 })
  })

  it('with a connection for each transaction has one rate, which includes it', () => {
    const lines = [
      ...REPORT_15.slice(0, -2),
      'average connection time = 0.532 ms',
      'tps = 1210.25 (including reconnection times)',
    ]
    assert.deepEqual(parseReport(lines, true), { transactions: 45_551, tps: 1210.25 })
    assert.equal(parseReport(lines, false), 'pgbench printed no result')
  })

  it('of an aborted run is none, however good its figures look', () => {
    const aborted =
      'pgbench: error: client 3 aborted in command 1 (SQL) of script 0; perhaps the backend died'
    assert.equal(parseReport([aborted, ...REPORT_15], false), aborted)
    const late = 'Run was aborted; the above results are incomplete.'
    assert.equal(parseReport([...REPORT_15, late], false), late)
  })

  it('with failed transactions is none', () => {
    const lines = REPORT_15.map((line) => line.replace('failed transactions: 0', 'failed transactions: 7'))
    assert.equal(parseReport(lines, false), '7 transactions failed')
  })

  it('of nothing is none', () => {
    assert.equal(parseReport([], false), 'pgbench printed no result')
    const lines = REPORT_15.map((line) => line.replace('processed: 45551', 'processed: 0'))
    assert.equal(parseReport(lines, false), 'not one transaction was done')
  })
})

describe('a log of pgbench', () => {
  // client, number of its transaction, microseconds, script, end in seconds, and microseconds
  const log = `0 199 2241 0 1175850568 995598
1 12 900 0 1175850568 995600
0 200 2465 0 1175850568 998079
0 201 failed 0 1175850569 608
0 203 1500 0 1175850569 2000
`

  it('has the time of each transaction, but of those that failed', () => {
    assert.deepEqual(transactionTimes([log, '']), [2.241, 0.9, 2.465, 1.5])
  })

  it('has the transactions of one script by themselves', () => {
    assert.deepEqual(transactionTimes([log, '3 1 50100 1 1175850568 995598\n'], 1), [50.1])
  })

  it('of a client that connects each time shows its turns, from end to end and over no gap', () => {
    const turns = turnTimes([log, '0 1 5 0 10 0\n0 2 5 0 10 3000\n'])
    assert.deepEqual(
      turns.map((turn) => Math.round(turn * 1000) / 1000),
      // 201 follows 200 in the next second; 202 was not logged.
      [2.481, 2.529, 3],
    )
  })
})

describe('what pgbench is told', () => {
  it('logs all that is slow and a part of what is quick', () => {
    assert.deepEqual(argumentsOf('prepared', 64), {
      args: ['-S', '-M', 'prepared', '-j', '1'],
      share: 0.1,
      timed: null,
    })
    assert.deepEqual(argumentsOf('tpcb', 64), { args: ['-b', 'tpcb-like', '-j', '1'], share: 1, timed: null })
  })

  it('has scripts with their weights, and a second thread for many clients', () => {
    const { args, timed } = argumentsOf('mixed-wait', 500, { files: ['a@99', 'b@1'], timed: 0 })
    assert.deepEqual([args.join(' '), timed], ['-f a@99 -f b@1 -M simple -j 2', 0])
  })

  it('gives a client that connects each time a thread of its own: its turns are what is timed', () => {
    assert.deepEqual(argumentsOf('connect', 7), { args: ['-S', '-C', '-j', '7'], share: 1, timed: null })
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
    assert.ok(openFileLimit()! > 2)
  })

  it('a peak begins anew', { skip: process.platform !== 'linux' && 'needs /proc' }, async () => {
    // Holds 200 MB for a moment, gives them back and waits.
    const work =
      'let big = Buffer.alloc(2e8, 1); big = null; gc(); console.log("free"); process.stdin.resume()'
    const child = spawn(process.execPath, ['--expose-gc', '-e', work], { stdio: ['pipe', 'pipe', 'inherit'] })
    await once(child.stdout, 'data')
    const high = peakMemoryOf(child.pid!)!
    assert.ok(resetPeakMemory(child.pid!))
    const low = peakMemoryOf(child.pid!)!
    child.stdin.end()
    await once(child, 'exit')
    assert.ok(high - low > 150 * 1024, `${high} KiB, then ${low} KiB`)
    assert.equal(resetPeakMemory(child.pid!), false)
  })

  it('counts what children used when they have ended', {
    skip: process.platform !== 'linux' && 'needs /proc',
  }, () => {
    const total = () => {
      const { user, system } = endedChildrenCpu()!
      return user + system
    }
    const before = total()
    const work = 'const end = performance.now() + 200; while (performance.now() < end);'
    execFileSync(process.execPath, ['-e', work])
    assert.ok(total() - before >= 50_000)
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
