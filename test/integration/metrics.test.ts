// What Prometheus gets: every name that the dashboard, the alert rules and the documentation use is there and
// the other way round, numbers of pools are those of what was done, and hundreds of pools hold nobody up.
import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import { monitorEventLoopDelay } from 'node:perf_hooks'
import { after, suite, test } from 'node:test'
import { setTimeout as pause } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import { parse } from 'yaml'
import { through } from '../support/compare.ts'
import * as m from '../support/messages.ts'
import { startPooler, type TestPooler } from '../support/pooler.ts'
import { getPostgres } from '../support/postgres.ts'
import { eventually } from '../support/rig.ts'
import { WORKER_METRICS } from '../support/crew.ts'
import { WireClient } from '../support/wire-client.ts'

const postgres = await getPostgres()
const { database, user } = postgres
const ROOT = new URL('../../', import.meta.url)
const read = (path: string): string => readFileSync(fileURLToPath(new URL(path, ROOT)), 'utf8')
/** Prometheus' own. */
const FOREIGN = new Set(['up'])
/** So long nothing else may have to wait. */
const HELD_MS = 20

async function started(overrides: Parameters<typeof startPooler>[1] = {}): Promise<TestPooler> {
  const pooler = await startPooler(postgres.url, overrides)
  after(() => pooler.stop())
  return pooler
}

/** Names of metrics with those of their labels, as far as there are values. */
function shown(text: string): Map<string, Set<string>> {
  const all = new Map<string, Set<string>>()
  for (const [, name] of text.matchAll(/^# TYPE (\S+)/gm)) all.set(name ?? '', new Set())
  for (const [, name, labels] of text.matchAll(/^([a-z_]+)(?:\{(.*)\})? \S+$/gm)) {
    const known = all.get(name ?? '') ?? new Set()
    for (const [, label] of (labels ?? '').matchAll(/(\w+)="/g)) known.add(label ?? '')
    all.set(name ?? '', known)
  }
  return all
}

/** The metrics of an expression with the labels that it asks for. */
function* asked(expr: string): Generator<[name: string, labels: string[]]> {
  const text = expr.replaceAll(/\$__rate_interval/g, '5m')
  for (const [, name, labels] of text.matchAll(/\b((?:pgmux|process|nodejs)_\w+|up)\b(?:\{([^}]*)\})?/g))
    yield [name ?? '', Array.from((labels ?? '').matchAll(/(\w+)\s*[=!]/g), ([, label]) => label ?? '')]
}

/** Every `expr` of a document, and the queries of variables. */
function expressions(value: unknown): string[] {
  if (typeof value !== 'object' || value === null) return []
  return Object.entries(value).flatMap(([key, inner]) =>
    (key === 'expr' || key === 'query') && typeof inner === 'string' ? [inner] : expressions(inner),
  )
}

suite('names', () => {
  test('of the dashboard and the alert rules are those of /metrics, labels too', async () => {
    const pooler = await started()
    const client = await WireClient.connect(through(pooler, postgres))
    await client.query('select 1')
    const known = shown(await pooler.pooler.metrics())
    for (const [file, least] of [
      ['docker/grafana-dashboard.json', 40],
      ['docker/prometheus-alerts.yaml', 14],
    ] as const) {
      const all = expressions(parse(read(file)))
      let count = 0
      for (const expr of all) {
        for (const [name, labels] of asked(expr)) {
          count++
          if (FOREIGN.has(name)) continue
          const there = known.get(name)
          assert.ok(there !== undefined, `${file}: ${name} in ${expr}`)
          for (const label of labels)
            if (there.size > 0 && label !== 'instance') assert.ok(there.has(label), `${name}{${label}}`)
        }
      }
      assert.ok(count >= least, `${file}: ${count} names`)
    }
    await client.end()
  })

  test('of /metrics are documented, and no others', async () => {
    const pooler = await started()
    const text = await pooler.pooler.metrics()
    const names = Array.from(text.matchAll(/^# TYPE (pgmux_\S+)/gm), ([, name]) => name ?? '')
    const page = read('docs/metrics.md')
    const told = new Set(Array.from(page.matchAll(/\bpgmux_[a-z_]+\b/g), ([name]) => name))
    // Those of several processes: `workers.test.ts` has some.
    for (const name of WORKER_METRICS) assert.ok(told.delete(name), `${name} is not in docs/metrics.md`)
    for (const name of names) assert.ok(told.has(name), `${name} is not in docs/metrics.md`)
    for (const name of told) assert.ok(names.includes(name), `${name} is in docs/metrics.md only`)
  })
})

suite('numbers', () => {
  test('of a pool and its database are those of what was done', async () => {
    const pooler = await started({ pool: { size: 1 } })
    const [one, two] = [
      await WireClient.connect(through(pooler, postgres)),
      await WireClient.connect(through(pooler, postgres)),
    ]
    const pool = `{database="${database}",user="${user}"}`
    const values = async () => {
      const text = await pooler.pooler.metrics()
      return (name: string) => {
        const line = text.split('\n').find((each) => each.startsWith(`${name} `))
        return line === undefined ? undefined : Number(line.slice(name.length))
      }
    }
    await one.query('select pg_sleep(0.03)')
    await one.query('begin')
    two.send(m.query('select 1'))
    await eventually(async () => (await values())(`pgmux_pool_clients_waiting${pool}`) === 1)
    await pause(30)
    const during = await values()
    assert.equal(during(`pgmux_pool_clients${pool}`), 2)
    assert.equal(during(`pgmux_pool_size${pool}`), 1)
    assert.equal(during(`pgmux_pool_servers{database="${database}",user="${user}",state="active"}`), 1)
    assert.ok((during(`pgmux_pool_max_wait_seconds${pool}`) ?? -1) >= 0)
    assert.equal(during(`pgmux_pool_host_down${pool}`), 0)
    await one.query('commit')
    await two.until()
    const after = await values()
    const ofDatabase = `_total{database="${database}"}`
    assert.equal(after(`pgmux_database_transactions${ofDatabase}`), 3)
    assert.equal(after(`pgmux_database_queries${ofDatabase}`), 4)
    assert.equal(after('pgmux_query_seconds_count'), 4)
    assert.equal(after('pgmux_transaction_seconds_count'), 3)
    assert.equal(after('pgmux_query_seconds_bucket{le="+Inf"}'), 4)
    // One slept for 30 ms; the transaction was open for longer than that.
    assert.ok((after('pgmux_query_seconds_bucket{le="0.025"}') ?? 9) <= 3)
    assert.ok((after('pgmux_query_seconds_sum') ?? 0) >= 0.03)
    assert.ok((after('pgmux_transaction_seconds_bucket{le="0.025"}') ?? 9) <= 1)
    assert.ok((after('pgmux_wait_seconds_sum') ?? 0) >= 0.03, 'waits are told exactly')
    assert.equal(after(`pgmux_database_waits${ofDatabase}`), 1)
    assert.equal(after(`pgmux_pool_query_seconds_count${pool}`), 4)
    assert.equal(after(`pgmux_pool_transaction_seconds_count${pool}`), 3)
    assert.equal(after(`pgmux_pool_wait_seconds_count${pool}`), 1)
    const least = `{database="${database}",user="${user}",le="0.025"}`
    assert.ok((after(`pgmux_pool_query_seconds_bucket${least}`) ?? 9) <= 3)
    await Promise.all([one.end(), two.end()])
  })

  test('of names that are not harmless stand in quotes; beyond 500 pools they are added up', async () => {
    const { pooler } = await started()
    pooler.router.get('a"b\\c\nd', 'u')
    for (let n = 0; n < 510; n++) pooler.router.get(`db${n}`, 'u')
    const text = await pooler.metrics()
    assert.ok(text.includes('pgmux_pool_size{database="a\\"b\\\\c\\nd",user="u"} 20\n'))
    const lines = text.split('\n')
    assert.equal(lines.filter((line) => line.startsWith('pgmux_pool_clients{')).length, 501)
    assert.ok(text.includes('pgmux_pool_clients{database="other",user="other"} 0\n'))
    assert.equal(lines.filter((line) => line.startsWith('pgmux_database_queries_total{')).length, 501)
  })
})

test('a scrape of 200 pools holds nobody up', async () => {
  const { pooler } = await started()
  for (let n = 0; n < 200; n++) pooler.router.get(`db${n}`, 'app')
  const delay = monitorEventLoopDelay({ resolution: 1 })
  delay.enable()
  const held: number[] = []
  // The first ones are compiled; of the others other work of this machine may be in one.
  for (let round = 0; round < 8; round++) {
    await pause(10)
    delay.reset()
    const text = await pooler.metrics()
    await pause(5)
    held.push(delay.max / 1e6)
    assert.ok(text.split('\n').length > 200 * 30)
  }
  delay.disable()
  assert.ok(Math.min(...held) < HELD_MS, `${held.map((ms) => ms.toFixed(1)).join(' ')} ms`)
})
