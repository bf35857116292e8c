// Reads the log that pgbench writes of single transactions. Pure.
// Must never count a transaction that failed, nor take a gap in a log for a slow transaction.

/** Of a line: client, number of its transaction, microseconds, script, end in seconds, and microseconds. */
const LEAST_FIELDS = 6

interface Entry {
  readonly client: string
  readonly number: number
  /** Place of its script among those of the run. */
  readonly script: number
  /** ms; NaN where the transaction failed or was skipped. */
  readonly took: number
  /** When it ended, in ms. */
  readonly end: number
}

function entriesOf(text: string): Entry[] {
  return text.split('\n').flatMap((line) => {
    const [client, number, took, script, seconds, micros] = line.split(' ')
    if (line.split(' ').length < LEAST_FIELDS) return []
    // Words such as `failed` or `skipped` stand where the time is otherwise.
    const end = Number(seconds) * 1000 + Number(micros) / 1000
    const times = { took: Number(took) / 1000, end }
    return [{ client: client!, number: Number(number), script: Number(script), ...times }]
  })
}

/**
 * @param logs one for each thread of pgbench
 * @param script only the transactions of the script at this place count; null: all
 * @returns ms of each transaction
 */
export function transactionTimes(logs: readonly string[], script: number | null = null): number[] {
  return logs
    .flatMap(entriesOf)
    .filter((entry) => script === null || entry.script === script)
    .map((entry) => entry.took)
    .filter(Number.isFinite)
}

/**
 * For `pgbench -C`, which leaves connecting and disconnecting out of the time of a transaction: a client that
 * has a thread of its own does nothing else between the ends of two transactions in a row.
 * @returns ms of each turn: connect, transact, leave
 */
export function turnTimes(logs: readonly string[]): number[] {
  const turns: number[] = []
  for (const log of logs) {
    const last = new Map<string, Entry>()
    for (const entry of entriesOf(log)) {
      const before = last.get(entry.client)
      if (before !== undefined && entry.number === before.number + 1) turns.push(entry.end - before.end)
      last.set(entry.client, entry)
    }
  }
  return turns
}
