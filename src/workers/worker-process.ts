// One worker as the first process sees it: its process, the line to it, whether it takes clients. It owns the
// process and ends with it; what is said over the line others know.
import { type ChildProcess, fork } from 'node:child_process'
import { fileURLToPath } from 'node:url'
import type { RawHandle } from '../net/handed.ts'
import { type Handlers, Line } from './line.ts'
import type { Start } from './messages.ts'

/** TypeScript in a clone, JavaScript in the package. */
const ENTRY = new URL(
  import.meta.url.endsWith('.ts') ? '../cli/worker.ts' : '../cli/worker.js',
  import.meta.url,
)
/** As `bin/pgmux.js` starts the first process. */
const FLAG = '--liftoff-only'
/** Two processes cannot have the same port for a debugger. */
const DEBUGGER = /^--inspect/

/** Who is asked and does not answer for longer is given no connection, as long as another one does. */
const SILENT_MS = 1000

export interface WorkerEvents {
  handlers: Handlers
  /** Called once. @param how a code or a signal */
  onExit(worker: WorkerProcess, how: string): void
}

export class WorkerProcess {
  /** No other worker has or had it. */
  readonly id: number
  readonly number: number
  readonly line: Line
  readonly startedAt = performance.now()
  /** It takes clients. */
  isReady = false
  /** Connections that it was given and has not answered for. */
  onTheWay = 0
  /** When it was given one last, as a place in their order. */
  lastGiven = 0
  /** Since when it owes the answer to `look`; 0: it owes none. */
  #askedAt = 0
  readonly #process: ChildProcess
  readonly #neverBegan = Promise.withResolvers<never>()

  constructor(id: number, number: number, events: WorkerEvents) {
    this.id = id
    this.number = number
    const flags = process.execArgv.filter((flag) => flag !== FLAG && !DEBUGGER.test(flag))
    this.#process = fork(fileURLToPath(ENTRY), [`worker ${number}`], {
      execArgv: [...flags, FLAG],
      serialization: 'advanced',
    })
    this.line = new Line(this.#process, events.handlers)
    const end = (how: string): void => {
      this.isReady = false
      events.onExit(this, how)
    }
    this.#process.once('exit', (code, signal) => end(signal ?? `status ${code}`))
    this.#process.on('error', (error) => {
      // Of one that has begun `exit` tells. One that the system has no room for never begins.
      if (this.pid !== 0) return
      this.#neverBegan.reject(error)
      end(error.message)
    })
    this.#neverBegan.promise.catch(() => {})
  }

  get pid(): number {
    return this.#process.pid ?? 0
  }

  /** Resolves when it takes clients. @throws why it cannot */
  async start(start: Omit<Start, 'number'>): Promise<void> {
    const asked = this.line.ask('start', { ...start, number: this.number })
    await Promise.race([asked, this.#neverBegan.promise])
    this.isReady = true
  }

  /** Hands over a connection. @returns false: it did not live to take it */
  async take(key: string, handle: RawHandle): Promise<boolean> {
    this.onTheWay++
    try {
      await this.line.ask('connection', key, handle)
      handle.close()
      return true
    } catch {
      return false
    } finally {
      this.onTheWay--
    }
  }

  /** Asks whether it still does anything. @returns for how long it has not said so, ms */
  look(now: number): number {
    if (!this.isReady) return 0
    if (this.#askedAt > 0) return now - this.#askedAt
    this.#askedAt = now
    const answered = (): void => {
      this.#askedAt = 0
    }
    this.line.ask('look').then(answered, answered)
    return 0
  }

  /** It is asked, and has not answered at once. */
  isSilentAt(now: number): boolean {
    return this.#askedAt > 0 && now - this.#askedAt > SILENT_MS
  }

  kill(): void {
    this.#process.kill('SIGKILL')
  }
}
