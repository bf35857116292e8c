// Counters as they are added to, and as Prometheus reads them.
import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import { after, describe, it } from 'node:test'
import fc from 'fast-check'
import { Counters, LabelledCounts, TIME_BOUNDS_MS, TimeHistogram } from '../../../src/observe/counters.ts'
import { Metrics } from '../../../src/observe/metrics.ts'

describe('counters', () => {
  it('sort waits into buckets, each once', () => {
    fc.assert(
      fc.property(fc.array(fc.double({ noNaN: false })), (waits) => {
        const histogram = new TimeHistogram()
        for (const ms of waits) histogram.record(ms)
        assert.equal(histogram.count, waits.length)
        assert.equal(
          histogram.buckets.reduce((sum, count) => sum + count, 0),
          waits.length,
        )
        assert(!Number.isNaN(histogram.sumMs))
      }),
    )
    const edge = new TimeHistogram()
    edge.record(TIME_BOUNDS_MS[3])
    assert.equal(edge.buckets[3], 1)
  })

  it('keep a bounded number of labels and lose no count', () => {
    const counts = new LabelledCounts(3)
    for (let i = 0; i < 100; i++) counts.add([`code${i}`, 'reason'])
    counts.add(['code0', 'reason'], 5)
    assert.equal(counts.get(['code0', 'reason']), 6)
    assert.equal(counts.get(['other', 'other']), 97)
    assert.equal([...counts.entries()].length, 4)
  })

  it('sum up', () => {
    const one = new Counters()
    for (const name of Object.keys(one) as (keyof Counters)[]) {
      if (typeof one[name] === 'number') Object.assign(one, { [name]: 2 })
    }
    one.errors.add(['53300', 'limit'])
    one.closes.add(['idle'])
    one.waits.record(7)
    one.http.answered(200)
    one.http.bytesToClients = 3
    const sum = new Counters()
    sum.addAll(one)
    sum.addAll(one)
    for (const name of Object.keys(one) as (keyof Counters)[]) {
      if (typeof one[name] === 'number') assert.equal(sum[name], 4, name)
    }
    assert.equal(sum.errors.get(['53300', 'limit']), 2)
    assert.equal(sum.closes.get(['idle']), 2)
    assert.equal(sum.waits.sumMs, 14)
    assert.deepEqual([...sum.http.answers], [[200, 2]])
    assert.equal(sum.http.bytesToClients, 6)
  })
})

describe('metrics', () => {
  const metrics = new Metrics()
  after(() => metrics.close())

  /** The value of one line of the text format. */
  const value = (text: string, name: string): number => {
    const line = text.split('\n').find((candidate) => candidate.startsWith(`${name} `))
    assert(line !== undefined, `${name} is missing`)
    return Number(line.slice(name.length + 1))
  }

  it('show what owners count, and keep it when they go', async () => {
    const pool = new Counters()
    pool.exchanges = 41
    pool.bytesToClients = 1000
    pool.errors.add(['53300', 'say "no"\nnow'])
    pool.closes.add(['idle too long'], 2)
    pool.waits.record(3)
    pool.waits.record(400_000)
    const gone = metrics.registerCounters(() => pool)
    pool.exchanges++
    const text = await metrics.text()
    assert.equal(value(text, 'pgmux_exchanges_total'), 42)
    assert.equal(value(text, 'pgmux_bytes_total{direction="to_clients"}'), 1000)
    assert.equal(value(text, 'pgmux_server_closes_total{reason="idle too long"}'), 2)
    assert.equal(value(text, 'pgmux_errors_total{sqlstate="53300",reason="say \\"no\\"\\nnow"}'), 1)
    assert.equal(value(text, 'pgmux_wait_seconds_bucket{le="0.0025"}'), 0)
    assert.equal(value(text, 'pgmux_wait_seconds_bucket{le="0.005"}'), 1)
    assert.equal(value(text, 'pgmux_wait_seconds_bucket{le="+Inf"}'), 2)
    assert.equal(value(text, 'pgmux_wait_seconds_count'), 2)
    assert.equal(value(text, 'pgmux_wait_seconds_sum'), 400.003)
    gone()
    gone()
    assert.equal(value(await metrics.text(), 'pgmux_exchanges_total'), 42)
    const next = new Counters()
    next.exchanges = 1
    metrics.registerCounters(() => next)
    assert.equal(value(await metrics.text(), 'pgmux_exchanges_total'), 43)
    assert.equal(metrics.totals().exchanges, 43)
  })

  it('sum up gauges, which go down as well', async () => {
    const pinned = { clients: 1, reasons: new Map([['temp', 1]]) }
    const gauges = { clients: { active: 3, waiting: 1 }, servers: { idle: 2 }, waiting: 1, pinned }
    const gone = metrics.registerGauges(() => gauges)
    metrics.registerGauges(() => ({
      clients: { active: 1 },
      servers: {},
      waiting: 2,
      pinned,
      logLinesLost: 5,
    }))
    const text = await metrics.text()
    assert.equal(value(text, 'pgmux_clients{state="active"}'), 4)
    assert.equal(value(text, 'pgmux_servers{state="idle"}'), 2)
    assert.equal(value(text, 'pgmux_client_waiting'), 3)
    assert.equal(value(text, 'pgmux_pins{reason="temp"}'), 2)
    assert.equal(value(text, 'pgmux_pinned_clients'), 2)
    assert.equal(value(text, 'pgmux_log_lines_lost_total'), 5)
    gone()
    assert.equal(value(await metrics.text(), 'pgmux_clients{state="active"}'), 1)
  })

  it('are all on the page about metrics', async () => {
    const page = readFileSync(new URL('../../../docs/metrics.md', import.meta.url), 'utf8')
    const names = [...(await metrics.text()).matchAll(/^# TYPE (pgmux_\w+)/gm)].map(([, name = '']) => name)
    assert.ok(names.length > 20, String(names))
    assert.deepEqual(
      names.filter((name) => !page.includes(`\`${name}\``) && !page.includes(`\`${name}{`)),
      [],
    )
  })

  it('show the event loop and the process', async () => {
    const text = await metrics.text()
    assert.match(text, /^pgmux_event_loop_delay_seconds\{quantile="0.99"\} /m)
    assert.match(text, /^process_cpu_user_seconds_total /m)
    assert.match(metrics.contentType, /^text\/plain/)
  })
})
