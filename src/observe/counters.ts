// The plain numbers that the core adds to while it works, read when metrics or the console ask. Owns no clock
// and no format. Numbers here only grow; a field that could shrink is a gauge and belongs to its owner.

/** Upper bounds of the histograms, in milliseconds; longer times fall into one more bucket. */
export const TIME_BOUNDS_MS: readonly number[] = [
  0.1, 0.25, 0.5, 1, 2.5, 5, 10, 25, 50, 100, 250, 500, 1000, 2500, 5000, 10_000, 30_000, 60_000, 120_000,
]

/** How long something took: fixed buckets, so that a time costs a few additions. */
export class TimeHistogram {
  /** Per bucket, not summed up; one more than there are bounds. */
  readonly buckets: Float64Array = new Float64Array(TIME_BOUNDS_MS.length + 1)
  count = 0
  sumMs = 0

  /** Adds one. `ms` may be 0; what is not a time is taken as 0. */
  record(ms: number): void {
    this.put(bucketOf(ms), ms)
  }

  /** The same where its bucket is known. */
  put(bucket: number, ms: number): void {
    this.buckets[bucket]++
    this.count++
    if (ms > 0) this.sumMs += ms
  }

  addAll(other: TimeHistogram): void {
    for (let at = 0; at < this.buckets.length; at++) this.buckets[at] += other.buckets[at]
    this.count += other.count
    this.sumMs += other.sumMs
  }
}

/** Which bucket of a histogram a time falls into. */
function bucketOf(ms: number): number {
  let bucket = 0
  while (bucket < TIME_BOUNDS_MS.length && ms > TIME_BOUNDS_MS[bucket]) bucket++
  return bucket
}

const LABEL_MAX = 64
const SEPARATOR = '\0'

/** Counts by label, of which there are never more than a fixed number: what comes later counts as `other`. */
export class LabelledCounts {
  readonly #max: number
  readonly #counts = new Map<string, number>()

  constructor(max: number) {
    this.#max = max
  }

  /**
   * Adds `by` to the count of these labels. Always give the same number of labels; at most 64 characters
   * count.
   */
  add(labels: readonly string[], by = 1): void {
    const key = labels.map((label) => label.slice(0, LABEL_MAX)).join(SEPARATOR)
    const known = this.#counts.get(key)
    if (known !== undefined || this.#counts.size < this.#max) this.#counts.set(key, (known ?? 0) + by)
    else this.#addOther(labels.length, by)
  }

  #addOther(labels: number, by: number): void {
    const key = new Array<string>(labels).fill('other').join(SEPARATOR)
    this.#counts.set(key, (this.#counts.get(key) ?? 0) + by)
  }

  /** The count of exactly these labels. */
  get(labels: readonly string[]): number {
    return this.#counts.get(labels.join(SEPARATOR)) ?? 0
  }

  /** Of all labels. */
  get total(): number {
    let total = 0
    for (const count of this.#counts.values()) total += count
    return total
  }

  *entries(): Generator<{ labels: string[]; count: number }> {
    for (const [key, count] of this.#counts) yield { labels: key.split(SEPARATOR), count }
  }

  addAll(other: LabelledCounts): void {
    for (const { labels, count } of other.entries()) this.add(labels, count)
  }
}

/** What came over HTTP. */
export class HttpCounters {
  /** Requests by the status of their answer; 0: they went before they had one. */
  readonly answers = new Map<number, number>()
  /** Of bodies, as they were on the way: answers may be compressed. */
  bytesFromClients = 0
  bytesToClients = 0

  answered(status: number, count = 1): void {
    this.answers.set(status, (this.answers.get(status) ?? 0) + count)
  }

  addAll(other: HttpCounters): void {
    for (const [status, count] of other.answers) this.answered(status, count)
    this.bytesFromClients += other.bytesFromClients
    this.bytesToClients += other.bytesToClients
  }
}

/** Clients that had to show who they are, by method. Methods are fixed words: there are never many. */
export class LoginCounters {
  readonly #ok = new Map<string, number>()
  readonly #failed = new Map<string, number>()

  add(method: string, isIn: boolean, count = 1): void {
    const counts = isIn ? this.#ok : this.#failed
    counts.set(method, (counts.get(method) ?? 0) + count)
  }

  *entries(): Generator<{ labels: [method: string, result: 'ok' | 'failed']; count: number }> {
    for (const [method, count] of this.#ok) yield { labels: [method, 'ok'], count }
    for (const [method, count] of this.#failed) yield { labels: [method, 'failed'], count }
  }

  addAll(other: LoginCounters): void {
    for (const { labels, count } of other.entries()) this.add(labels[0], labels[1] === 'ok', count)
  }
}

const ERRORS_MAX = 256
const CLOSES_MAX = 64
const PINS_MAX = 16
const HANDSHAKES_MAX = 4

/** The counters of one owner (a pool, or the whole process). Add to the fields directly. */
export class Counters {
  /** Clients that logged in. */
  clientsTotal = 0
  /** Client exchanges that ended in ReadyForQuery. */
  exchanges = 0
  transactions = 0
  /** How long these took. */
  readonly queryTimes = new TimeHistogram()
  readonly transactionTimes = new TimeHistogram()
  /** Times that a server was given to a client. */
  assignments = 0
  bytesFromClients = 0
  bytesToClients = 0
  bytesFromServers = 0
  bytesToServers = 0
  /** Logins to Postgres that were started. */
  serverOpens = 0
  /** Servers that had something of a session left when they were idle. Each is a fault of ours. */
  leaks = 0
  serverOpenFailures = 0
  parsesFromClients = 0
  parsesToServers = 0
  binds = 0
  /** CancelRequests that matched a client. */
  cancels = 0
  /** Notifications that a listening server brought, one for each client that got it. */
  notifications = 0
  /** Listening servers that were lost while somebody listened: clients were told of a gap. */
  listenerLosses = 0
  /** WebSockets that were opened. */
  webSockets = 0
  readonly http = new HttpCounters()
  /** How long clients waited for a server. */
  readonly waits = new TimeHistogram()
  readonly logins = new LoginCounters()
  /** How long passwords took to be hashed, the wait for their turn included. */
  readonly passwordTimes = new TimeHistogram()
  /** `tlsHandshakes.add(['clients' or 'servers', 'ok' or 'failed'])`. */
  readonly tlsHandshakes = new LabelledCounts(HANDSHAKES_MAX)
  /** Times that the configuration was read again, by result (`ok`, `failed`). */
  readonly reloads = new LabelledCounts(2)
  /** Errors that we made, by SQLSTATE and reason: `errors.add([sqlstate, reason])`. */
  readonly errors = new LabelledCounts(ERRORS_MAX)
  /**
   * Server connections that ended: `closes.add([reason])`. Reasons are fixed words, never text from a peer.
   */
  readonly closes = new LabelledCounts(CLOSES_MAX)
  /** Exchanges that ran beside those of other clients; by reason: those that ran once more, ends of lanes. */
  shared = 0
  readonly sentAgain = new LabelledCounts(CLOSES_MAX)
  readonly lanesShut = new LabelledCounts(CLOSES_MAX)
  /** Sessions that kept a server beyond a transaction, by reason, and how long they did. */
  readonly pins = new LabelledCounts(PINS_MAX)
  readonly pinnedMs = new LabelledCounts(PINS_MAX)

  /** Adds another owner's numbers to these. */
  addAll(other: Counters): void {
    this.clientsTotal += other.clientsTotal
    this.exchanges += other.exchanges
    this.transactions += other.transactions
    this.queryTimes.addAll(other.queryTimes)
    this.transactionTimes.addAll(other.transactionTimes)
    this.assignments += other.assignments
    this.bytesFromClients += other.bytesFromClients
    this.bytesToClients += other.bytesToClients
    this.bytesFromServers += other.bytesFromServers
    this.bytesToServers += other.bytesToServers
    this.serverOpens += other.serverOpens
    this.leaks += other.leaks
    this.serverOpenFailures += other.serverOpenFailures
    this.parsesFromClients += other.parsesFromClients
    this.parsesToServers += other.parsesToServers
    this.binds += other.binds
    this.cancels += other.cancels
    this.notifications += other.notifications
    this.listenerLosses += other.listenerLosses
    this.webSockets += other.webSockets
    this.http.addAll(other.http)
    this.waits.addAll(other.waits)
    this.logins.addAll(other.logins)
    this.passwordTimes.addAll(other.passwordTimes)
    this.tlsHandshakes.addAll(other.tlsHandshakes)
    this.reloads.addAll(other.reloads)
    this.errors.addAll(other.errors)
    this.closes.addAll(other.closes)
    this.shared += other.shared
    this.sentAgain.addAll(other.sentAgain)
    this.lanesShut.addAll(other.lanesShut)
    this.pins.addAll(other.pins)
    this.pinnedMs.addAll(other.pinnedMs)
  }
}

/** How long things took in one pool, or in several together. */
export class Times {
  readonly queries = new TimeHistogram()
  readonly transactions = new TimeHistogram()
  readonly waits = new TimeHistogram()
}

/** What the parts of one pool tell their times: they count for it and for its database. */
export class PoolTimes {
  readonly own: Times
  readonly #database: Counters

  /** @param own of the pool, or those that it shares with others */
  constructor(own: Times, database: Counters) {
    this.own = own
    this.#database = database
  }

  query(ms: number): void {
    const bucket = bucketOf(ms)
    this.own.queries.put(bucket, ms)
    this.#database.queryTimes.put(bucket, ms)
  }

  transaction(ms: number): void {
    const bucket = bucketOf(ms)
    this.own.transactions.put(bucket, ms)
    this.#database.transactionTimes.put(bucket, ms)
  }

  waited(ms: number): void {
    const bucket = bucketOf(ms)
    this.own.waits.put(bucket, ms)
    this.#database.waits.put(bucket, ms)
  }
}
