// One line of averages for the log, now and then, as long as there is something to tell. It owns the numbers
// of the last line; it knows no timer.
import type { Counters } from './counters.ts'
import type { Log } from './log.ts'
import type { Gauges } from './metrics.ts'

/** The numbers of one moment. */
interface Reading {
  readonly at: number
  readonly transactions: number
  readonly exchanges: number
  readonly received: number
  readonly sent: number
  readonly waits: number
  readonly waitedMs: number
}

export interface StatsSource {
  totals(): Counters
  gauges(): Gauges
}

export class StatsLine {
  readonly #source: StatsSource
  readonly #log: Log
  #last: Reading

  constructor(source: StatsSource, log: Log, now: number) {
    this.#source = source
    this.#log = log
    this.#last = reading(now, source.totals())
  }

  /** Time has passed. @param periodMs between two lines; 0: none */
  tick(now: number, periodMs: number): void {
    if (periodMs === 0 || now - this.#last.at < periodMs) return
    const last = this.#last
    const next = reading(now, this.#source.totals())
    this.#last = next
    const { clients, servers, waiting } = this.#source.gauges()
    const inside = sum(clients)
    if (inside === 0 && next.exchanges === last.exchanges) return
    const seconds = (now - last.at) / 1000
    const perSecond = (of: 'transactions' | 'exchanges' | 'received' | 'sent'): number =>
      Math.round((next[of] - last[of]) / seconds)
    const waits = next.waits - last.waits
    const fields = {
      clients: inside,
      servers: sum(servers),
      waiting,
      transactions_s: perSecond('transactions'),
      queries_s: perSecond('exchanges'),
      in_bytes_s: perSecond('received'),
      out_bytes_s: perSecond('sent'),
      waits_s: Math.round(waits / seconds),
      wait_avg_ms: waits === 0 ? 0 : Math.round((next.waitedMs - last.waitedMs) / waits),
    }
    this.#log.info(fields, 'averages')
  }
}

function reading(at: number, total: Counters): Reading {
  const { transactions, exchanges, bytesFromClients, bytesToClients, waits } = total
  const [received, sent] = [bytesFromClients, bytesToClients]
  return { at, transactions, exchanges, received, sent, waits: waits.count, waitedMs: waits.sumMs }
}

function sum(counts: Readonly<Record<string, number>>): number {
  return Object.values(counts).reduce((all, one) => all + one, 0)
}
