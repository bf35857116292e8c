// Owns: a pooler that sends its traces to a collector of the test, and traces of one's own to send along.
// Must never look into the pooler for what the collector is told.
import assert from 'node:assert/strict'
import { Collector, type ReceivedExchange } from './otlp.ts'
import type { Overrides } from './pooler.ts'
import type { TestPostgres } from './postgres.ts'
import { Rig } from './rig.ts'

let lastTrace = 0

/** A trace of its own, and the comment that names it. */
export function trace(flags = '01'): { id: string; span: string; comment: string; header: string } {
  const id = (++lastTrace).toString(16).padStart(32, 'a')
  const span = lastTrace.toString(16).padStart(16, 'b')
  const header = `00-${id}-${span}-${flags}`
  return { id, span, header, comment: `/*traceparent='${header}'*/` }
}

export const tracing = (collector: Collector, more: object = {}) => ({
  tracing: { endpoint: collector.url, sample: 0, serviceName: 'tested', headers: '', ...more },
})

export async function start(
  postgres: TestPostgres,
  overrides: Overrides = {},
  more: object = {},
): Promise<{ rig: Rig; collector: Collector }> {
  const collector = await Collector.start()
  return { rig: await Rig.start(postgres, { ...overrides, ...tracing(collector, more) }), collector }
}

/** Its parts stand within it, one behind the other. */
export function isConsistent(exchange: ReceivedExchange): void {
  const order = ['hold', 'wait', 'replay', 'execution'].flatMap((name) => exchange.parts[name] ?? [])
  let at = exchange.start
  for (const part of order.sort((a, b) => Number(a.start - b.start))) {
    assert.equal(part.traceId, exchange.traceId)
    assert.ok(part.start >= at, `${part.name} begins before what is in front of it has ended`)
    assert.ok(part.end >= part.start && part.end <= exchange.end, part.name)
    at = part.end
  }
  const now = BigInt(Date.now()) * 1_000_000n
  assert.ok(exchange.end <= now + 1_000_000_000n && exchange.start > now - 60_000_000_000n)
}

export const ms = ({ start, end }: { start: bigint; end: bigint }): number => Number(end - start) / 1e6

/** The metric of what became of traces. */
export async function count(rig: Rig, result: string): Promise<number> {
  const text = await rig.test.pooler.metrics()
  return Number(text.match(new RegExp(`^pgmux_traces_total[{]result="${result}"[}] (\\d+)$`, 'm'))?.[1])
}
