// The arguments of the bench, and how long it says that it will take. Nothing is measured here.
import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { BenchError, parseOptions } from '../../../bench/options.ts'
import { inMinutes, planned, Progress } from '../../../bench/progress.ts'
import { FACTS, LOADS, USUAL } from '../../../bench/scenarios.ts'
import { WEB_ROWS } from '../../../bench/web-scenarios.ts'

describe('options', () => {
  it('have defaults: everything is measured', () => {
    const { seconds, rounds, clients, pool, logins, scenarios, assert: asserts } = parseOptions([])
    assert.deepEqual([seconds, rounds, clients, pool, logins, asserts], [3, 4, 64, 10, 5000, true])
    assert.deepEqual(scenarios, USUAL)
  })

  it('take scenarios by two names, in one list or several, and keep their order', () => {
    const args = ['--scenario', 'logins', '--only=extended,simple', '--scenario=copy-out']
    assert.deepEqual(parseOptions(args).scenarios, ['simple', 'extended', 'copy-out', 'logins'])
  })

  it('take both ways of writing', () => {
    const {
      seconds,
      generator,
      assert: asserts,
    } = parseOptions(['--seconds', '1', '--no-assert', '--generator=own'])
    assert.deepEqual([seconds, generator, asserts], [1, 'own', false])
  })

  it('know other peers, with and without their process', () => {
    const { others } = parseOptions(['--peer', 'odyssey=127.0.0.1:7432,4711', '--peer=v6=[::1]:99'])
    assert.deepEqual(others, [
      { name: 'odyssey', host: '127.0.0.1', port: 7432, pid: 4711 },
      { name: 'v6', host: '::1', port: 99, pid: 0 },
    ])
  })

  it('know names for several scenarios', () => {
    assert.deepEqual(parseOptions(['--only=mixed,simple']).scenarios, ['simple', 'mixed-work', 'mixed-wait'])
    assert.deepEqual(parseOptions(['--only=delay']).scenarios.length, 4)
  })

  it('leave it to the load who stands beside, unless they are told', () => {
    const wish = (...args: string[]) => [parseOptions(args).leased, parseOptions(args).relay]
    assert.deepEqual(
      [wish(), wish('--leased', '--no-relay')],
      [
        [null, null],
        [true, false],
      ],
    )
  })

  it('refuse what is none, by name', () => {
    const wrong = [
      ['--seconds=0'],
      ['--rounds', '1.5'],
      ['--clients=1e3'],
      ['--only='],
      ['--scenario=select'],
      ['--generator=sysbench'],
      ['--peer=x=localhost'],
      ['--peer=x=localhost:0'],
      ['--peer=x=localhost:70000'],
      ['--peer=pgmux=localhost:5432'],
      ['--peer=x=a:1', '--peer=x=b:2'],
      ["--password=it's me"],
      ['--secs=1'],
      ['more'],
    ]
    for (const args of wrong) assert.throws(() => parseOptions(args), BenchError, args.join(' '))
    assert.throws(() => parseOptions(['--pool=x']), /--pool expects a whole number from 1 to 900, not "x"/)
    assert.throws(() => parseOptions(['--peer=x']), /--peer expects NAME=HOST:PORT/)
  })
})

describe('how long it takes', () => {
  const { seconds, rounds } = parseOptions([])
  const plan = {
    seconds,
    rounds,
    loginSeconds: 0,
    hasTpcb: true,
    loginRuns: 4,
    stormRuns: 2,
    idleRuns: 0,
    webRows: 0,
    sessionRows: 0,
    webStorms: 0,
    dashboard: { runs: 0, loginSeconds: 0 },
  }

  it('is below 10 minutes for all that is usual', () => {
    // Direct, pgmux and a PgBouncer that can do all.
    const usual = LOADS.filter((load) => (USUAL as readonly string[]).includes(load))
    const cells = usual.flatMap((load) => FACTS[load].beside).length + usual.length * 3
    const all = planned({ ...plan, cells })
    assert.ok(all.start + all.seconds < 600, inMinutes(all.start + all.seconds))
    assert.equal(all.runs, rounds * (cells + 4 + 2))
    const web = planned({ ...plan, cells: 0, hasTpcb: false, webRows: WEB_ROWS.length, webStorms: 1 })
    assert.ok(web.start + web.seconds < 600, inMinutes(web.start + web.seconds))
  })

  it('has room for the logins of many clients, in the uncounted run too', () => {
    const some = { ...plan, cells: 2, loginRuns: 0, stormRuns: 0 }
    const more = planned({ ...some, loginSeconds: 6 }).seconds - planned(some).seconds
    assert.equal(Math.round(more), (rounds + 1) * 6)
  })

  it('is told in words', () => {
    assert.deepEqual([0.4, 59.6, 61, 3600].map(inMinutes), ['0 s', '1 min 0 s', '1 min 1 s', '60 min 0 s'])
  })

  it('is corrected while it runs', () => {
    let now = 0
    const progress = new Progress({ seconds: 100, runs: 20 }, () => now)
    assert.equal(progress.mark, '[0/20, 1 min 40 s left]')
    now = 20_000
    progress.spend(10, true)
    assert.equal(progress.mark, '[1/20, 3 min 0 s left]')
    progress.spend(95, false)
    assert.equal(progress.mark, '[1/20, 0 s left]')
  })
})

describe('scenarios', () => {
  it('are held to what is promised', () => {
    const asked = (which: 'shared' | 'leased') =>
      Object.fromEntries(
        LOADS.filter((load) => FACTS[load][which].rate !== null).map((load) => [
          load,
          FACTS[load][which].rate,
        ]),
      )
    const always = { tpcb: 0.95, connect: 0.8, 'copy-out': 1.3 }
    assert.deepEqual(asked('leased'), { simple: 0.95, extended: 0.95, prepared: 1, ...always })
    const selects = { simple: 1.5, extended: 1.5, prepared: 1.5 }
    const far = {
      'delay-simple-64': 4,
      'delay-simple-200': 8,
      'delay-prepared-64': 4,
      'delay-prepared-200': 8,
    }
    assert.deepEqual(asked('shared'), {
      ...selects,
      ...always,
      ...far,
      'clients-500': 1.4,
      'clients-2000': 1.4,
    })
    assert.deepEqual([FACTS.prepared.shared.direct, FACTS.prepared.leased.direct], [1, 0.6])
  })
})
