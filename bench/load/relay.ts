// A bare TCP relay, a process by itself: what it costs to stand between a client and Postgres and do nothing.
// With a delay each chunk leaves that long after it came, in its order: a network between two machines.
// Takes its job as JSON in BENCH_RELAY and prints its port. Must never look at the bytes.
import { connect, createServer, type Socket } from 'node:net'

/** What the relay is asked to be. */
export interface RelayJob {
  /** Where it passes everything on to. */
  readonly host: string
  readonly port: number
  /** ms that each chunk is kept, in both directions; 0: none. */
  readonly delay: number
}

/** One chunk on its way. `bytes` null: the end of the stream. */
interface Chunk {
  readonly to: Socket
  readonly bytes: Buffer | null
  /** When it leaves, by performance.now(). */
  readonly due: number
}

/**
 * ms of one nap while chunks are on their way. Timers of Node have whole milliseconds, which would put chunks
 * together that came apart. A futex sleeps a tenth, and leaves the CPU to those that are measured.
 */
const NAP = 0.08
const BACKLOG = 4096

/** Keeps chunks for the same time each, so that the first to come is the first to leave. */
class Delay {
  readonly #chunks: Chunk[] = []
  readonly #delay: number
  readonly #pillow = new Int32Array(new SharedArrayBuffer(4))
  #first = 0
  #isAwake = false

  constructor(delay: number) {
    this.#delay = delay
  }

  push(to: Socket, bytes: Buffer | null): void {
    this.#chunks.push({ to, bytes, due: performance.now() + this.#delay })
    if (this.#isAwake) return
    this.#isAwake = true
    setImmediate(() => this.#turn())
  }

  /** After each turn the sockets are read: what came meanwhile has its own time. */
  #turn(): void {
    const now = performance.now()
    const chunks = this.#chunks
    while (this.#first < chunks.length && chunks[this.#first]!.due <= now) {
      const { to, bytes } = chunks[this.#first++]!
      if (bytes === null) to.end()
      else if (to.writable) to.write(bytes)
    }
    if (this.#first === chunks.length) {
      chunks.length = this.#first = 0
      this.#isAwake = false
      return
    }
    if (this.#first > 1024) {
      chunks.splice(0, this.#first)
      this.#first = 0
    }
    Atomics.wait(this.#pillow, 0, 0, Math.min(NAP, chunks[this.#first]!.due - now))
    setImmediate(() => this.#turn())
  }
}

/** Both ways between two sockets; the end or failure of one is the end of the other. */
function join(one: Socket, other: Socket, delay: Delay | null): void {
  for (const [from, to] of [
    [one, other],
    [other, one],
  ] as const) {
    from.on('error', () => to.destroy())
    if (delay === null) {
      from.pipe(to)
    } else {
      from.on('data', (bytes: Buffer) => delay.push(to, bytes))
      from.on('end', () => delay.push(to, null))
    }
  }
}

function run(job: RelayJob): void {
  const { host, port } = job
  const delay = job.delay > 0 ? new Delay(job.delay) : null
  const server = createServer({ noDelay: true, allowHalfOpen: true }, (client) => {
    const options = { host, port, noDelay: true, allowHalfOpen: true }
    join(client, connect(options), delay)
  })
  server.listen({ host: '127.0.0.1', port: 0, backlog: BACKLOG }, () => {
    process.stdout.write(`relay on port ${(server.address() as { port: number }).port}\n`)
  })
  process.on('SIGTERM', () => process.exit())
}

run(JSON.parse(process.env.BENCH_RELAY ?? '{}') as RelayJob)
