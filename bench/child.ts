// Owns the programs that the bench starts: each is known from its start to its end and is ended by its own
// process number. Must never end a process that it did not start.
import { type ChildProcess, type SpawnOptions, spawn } from 'node:child_process'
import { createInterface } from 'node:readline'
import { BenchError } from './options.ts'

/** ms that a program has to end after it was asked to. */
const STOP_LIMIT = 8000
/** ms that a pooler has to become ready. */
const READY_LIMIT = 20_000
const KEPT_LINES = 400
const SHOWN_LINES = 12

/** A program that was started. */
export class Child {
  readonly name: string
  readonly pid: number
  /** The last lines of both outputs. */
  readonly lines: string[] = []
  /** Settles when the program has ended and all that it said was read. */
  readonly exited: Promise<{ code: number | null; signal: NodeJS.Signals | null }>
  #onLine: ((line: string) => void) | null = null
  #running = true
  readonly #process: ChildProcess

  constructor(name: string, process: ChildProcess) {
    this.name = name
    this.#process = process
    this.pid = process.pid ?? 0
    for (const input of [process.stdout, process.stderr]) {
      if (input !== null) createInterface({ input }).on('line', (line) => this.#read(line))
    }
    this.exited = new Promise((resolve) => {
      process.once('error', (cause) => {
        this.#read(cause.message)
        // A program that could not be started gives no other event.
        if (process.pid === undefined) this.#ended(resolve, { code: null, signal: null })
      })
      process.once('close', (code, signal) => this.#ended(resolve, { code, signal }))
    })
  }

  get running(): boolean {
    return this.#running
  }

  /** The last lines, for the end of an error. */
  get lastWords(): string {
    const said = this.lines.filter((line) => line.trim() !== '').slice(-SHOWN_LINES)
    return said.length === 0 ? 'it said nothing' : `it ended with\n  ${said.join('\n  ')}`
  }

  /**
   * Waits for a line.
   * @throws BenchError with the last words where the program ends, or does not say it in time
   */
  async said(pattern: RegExp): Promise<RegExpExecArray> {
    const limit = AbortSignal.timeout(READY_LIMIT)
    return new Promise((resolve, reject) => {
      const give = (reason: string): void =>
        reject(new BenchError(`${this.name} ${reason}: ${this.lastWords}`))
      this.#onLine = (line) => {
        const match = pattern.exec(line)
        if (match !== null) resolve(match)
      }
      for (const line of this.lines) this.#onLine(line)
      limit.addEventListener('abort', () => give(`was not ready within ${READY_LIMIT / 1000} s`))
      void this.exited.then(() => give('ended before it was ready'))
    })
  }

  signal(name: NodeJS.Signals): void {
    if (this.#running) this.#process.kill(name)
  }

  /** Asks the program to end and waits; one that does not listen is killed. */
  async stop(name: NodeJS.Signals = 'SIGTERM'): Promise<void> {
    if (!this.#running) return
    this.signal(name)
    const timer = setTimeout(() => this.signal('SIGKILL'), STOP_LIMIT)
    await this.exited
    clearTimeout(timer)
  }

  #read(line: string): void {
    this.lines.push(line)
    if (this.lines.length > KEPT_LINES) this.lines.shift()
    this.#onLine?.(line)
  }

  #ended<T>(resolve: (how: T) => void, how: T): void {
    this.#running = false
    resolve(how)
  }
}

/** Starts programs; whatever happens to the bench, none of them outlives it. */
export class Children {
  readonly #all = new Set<Child>()
  #stopped: Promise<void> | null = null

  constructor() {
    // The last resort, where stopAll() was never reached.
    process.on('exit', () => {
      for (const child of this.#all) child.signal('SIGKILL')
    })
  }

  get stopping(): boolean {
    return this.#stopped !== null
  }

  /** Nothing of our environment is inherited but PATH: PGHOST or PGMUX_... would change what is measured. */
  start(
    name: string,
    command: readonly string[],
    options: Pick<SpawnOptions, 'env' | 'cwd' | 'uid' | 'gid'>,
  ): Child {
    if (this.stopping) throw new BenchError(`${name} was not started: the bench is stopping`)
    const process_ = spawn(command[0]!, command.slice(1), {
      ...options,
      env: { PATH: process.env.PATH, LC_ALL: 'C', ...options.env },
      stdio: ['ignore', 'pipe', 'pipe'],
      // A group of its own: Ctrl-C in the terminal is for us, who stop things in their order.
      detached: true,
    })
    const child = new Child(name, process_)
    this.#all.add(child)
    void child.exited.then(() => this.#all.delete(child))
    return child
  }

  /** Stops all; nothing can be started afterwards. Safe to call twice. */
  stopAll(): Promise<void> {
    this.#stopped ??= this.#stopEach()
    return this.#stopped
  }

  async #stopEach(): Promise<void> {
    // The load first: a pooler then has no client left to wait for.
    for (const child of [...this.#all].reverse()) await child.stop()
  }
}
