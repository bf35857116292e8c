// Owns: the pgmux under test: a process of its own, started as users start it, with its configuration file
// and what it tells (metrics, memory, open files, log). Must never outlive the test.
import assert from 'node:assert/strict'
import { type ChildProcess, fork } from 'node:child_process'
import { once } from 'node:events'
import { mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { fileURLToPath } from 'node:url'
import { until } from '../support/waits.ts'
import type { Memory } from './tell.ts'

/** Lines of the log that are kept, of those that should not be there. */
const BAD_MAX = 20
/** pino's number for level error. */
const ERROR = 50
const START_MS = 20_000

/** Samples of /metrics by name with labels. */
export type Samples = ReadonlyMap<string, number>

/** What stands in its configuration file. JSON is YAML. */
export type Settings = Readonly<Record<string, unknown>>

export class Subject {
  readonly folder: string
  port = 0
  /** Lines that tell of a fault in pgmux, and reloads that failed. */
  readonly bad: string[] = []
  failedReloads = 0
  isStopping = false
  readonly #child: ChildProcess
  #admin = ''
  #last: Samples = new Map()

  private constructor(child: ChildProcess, folder: string) {
    this.#child = child
    this.folder = folder
  }

  /** Starts it; `settings` gets the folder that goes with it. */
  static async start(settings: (folder: string) => Settings): Promise<Subject> {
    const folder = mkdtempSync(join(tmpdir(), 'pgmux-soak-'))
    const file = join(folder, 'config.yaml')
    writeFileSync(file, JSON.stringify(settings(folder)))
    const own = (path: string) => fileURLToPath(new URL(path, import.meta.url))
    const listen = [
      '--listen',
      '127.0.0.1:0',
      '--admin',
      '127.0.0.1:0',
      '--serverless',
      'off',
      '--log-format',
      'json',
    ]
    const { DATABASE_URL: _, ...env } = process.env
    const child = fork(own('../../bin/pgmux.js'), ['run', '--config', file, ...listen], {
      execArgv: ['--expose-gc', '--import', own('./tell.ts')],
      stdio: ['ignore', 'pipe', 'pipe', 'ipc'],
      env,
    })
    process.once('exit', () => child.kill('SIGKILL'))
    const subject = new Subject(child, folder)
    for (const output of [child.stdout, child.stderr]) {
      createInterface({ input: output as NodeJS.ReadableStream }).on('line', (line) => subject.#hear(line))
    }
    child.once('exit', (code, signal) => {
      if (!subject.isStopping) subject.#complain(`pgmux has ended: ${signal ?? code}`)
    })
    await until(
      () => subject.port > 0 || subject.bad.length > 0,
      () => 'pgmux does not start',
      START_MS,
    )
    assert.deepEqual(subject.bad, [])
    return subject
  }

  get pid(): number {
    return this.#child.pid ?? 0
  }

  signal(name: NodeJS.Signals): void {
    this.#child.kill(name)
  }

  /** Writes the file; it counts after the next HUP. */
  configure(text: string): void {
    writeFileSync(join(this.folder, 'config.yaml'), text)
  }

  /** All samples. @throws where a counter is less than the last time */
  async metrics(): Promise<Samples> {
    const response = await fetch(`${this.#admin}/metrics`)
    assert.equal(response.status, 200)
    const samples = new Map<string, number>()
    for (const line of (await response.text()).split('\n')) {
      if (line === '' || line.startsWith('#')) continue
      const space = line.lastIndexOf(' ')
      samples.set(line.slice(0, space), Number(line.slice(space + 1)))
    }
    for (const [name, value] of this.#last) {
      if (!/^pgmux_.*_(total|count|bucket|sum)(\{|$)/.test(name)) continue
      assert.ok((samples.get(name) ?? -1) >= value, `${name} went from ${value} to ${samples.get(name)}`)
    }
    this.#last = samples
    return samples
  }

  async isReady(): Promise<boolean> {
    return (await fetch(`${this.#admin}/readyz`)).status === 200
  }

  /** Memory after a collection. */
  async memory(): Promise<Memory> {
    const answered = once(this.#child, 'message')
    this.#child.send('memory')
    const [memory] = await answered
    return memory as Memory
  }

  /** Open files, sockets and the like. */
  files(): number {
    return readdirSync(`/proc/${this.pid}/fd`).length
  }

  /** It ends in order, as after `kill`. @returns its exit code */
  async stop(): Promise<number | null> {
    this.isStopping = true
    if (this.#child.exitCode !== null || this.#child.signalCode !== null) return this.#child.exitCode
    const gone = once(this.#child, 'exit')
    const timer = setTimeout(() => this.#child.kill('SIGKILL'), 30_000)
    this.#child.kill('SIGTERM')
    const [code] = await gone
    clearTimeout(timer)
    rmSync(this.folder, { recursive: true, force: true })
    return code as number | null
  }

  #hear(line: string): void {
    if (!line.startsWith('{')) {
      const port = /^pgmux connect: \S+:(\d+)\//.exec(line)?.[1]
      const admin = /^pgmux admin: (http:\S+)\/metrics/.exec(line)?.[1]
      if (port !== undefined) this.port = Number(port)
      else if (admin !== undefined) this.#admin = admin
      else if (!line.startsWith('pgmux ')) this.#complain(line)
      return
    }
    // Most lines are of no interest, and there are many of them at level debug.
    if (!/"level":"?(error|fatal|5|6)|Postgres sent/.test(line)) return
    const { level, msg } = JSON.parse(line) as { level: number | string; msg: string }
    const isError = typeof level === 'number' ? level >= ERROR : level === 'error' || level === 'fatal'
    if (isError && msg.startsWith('reload failed')) this.failedReloads++
    else if (isError || msg.startsWith('Postgres sent')) this.#complain(line)
  }

  #complain(line: string): void {
    if (this.bad.length < BAD_MAX) this.bad.push(line)
  }
}
