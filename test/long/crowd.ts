// Owns: the applications that work all the time, the errors that they are told, and their pauses. Must never
// let an error pass that the fault of the moment does not explain.
import { setTimeout as pause } from 'node:timers/promises'
import { Application } from '../support/applications.ts'
import type { Prng } from '../support/prng.ts'
import type { WireClient } from '../support/wire-client.ts'
import { actsOf } from './acts.ts'
import { assertWorks, Doors, Interrupted, isBroken } from './guarded.ts'
import type { Mode, World } from './world.ts'

const APPLICATIONS: readonly [Mode, number][] = [
  ['transaction', 28],
  ['session', 12],
  ['statement', 16],
]
/** Share that uses TLS. */
const ENCRYPTED = 0.3
/** Between two acts of one application, in ms. */
const REST = 10
/** Acts after which the connection is as before when they are interrupted by an error. */
const WITHOUT_TRACE =
  /^(simple|extended|describedFirst|unknownName|failing|pipeline|readSettings|insert|large|slowReader)$/
/** Most that an act takes while there is no fault, on a machine that has other work too. */
const ACT_MS = 60_000
/** Time for the connection to end behind a FATAL. */
const END_MS = 5000

class Member extends Application {
  readonly mode: Mode
  readonly #crowd: Crowd
  readonly #leaves: number

  constructor(number: number, random: Prng, crowd: Crowd, mode: Mode) {
    const ssl = random.chance(ENCRYPTED) ? ('request' as const) : (false as const)
    super(number, random, { ...crowd.world.target(mode), ssl }, actsOf(mode, crowd.doors))
    this.mode = mode
    this.#crowd = crowd
    // In session mode others wait for its server.
    this.#leaves = mode === 'session' ? 0.2 : 0.01
  }

  protected override connect(): Promise<WireClient> {
    return this.#crowd.doors.enter(this.target)
  }

  override async step(): Promise<void> {
    try {
      await super.step()
      if (this.random.chance(this.#leaves)) await this.forget()
    } catch (error) {
      if (!(error instanceof Interrupted) && !isBroken(error)) throw this.#explained(error as Error)
      await this.#recover(error instanceof Interrupted ? error : this.#lost(error as Error))
    }
  }

  /** In session mode it gives its server back. */
  async rest(): Promise<void> {
    if (this.mode === 'session') await this.forget()
  }

  async #recover(first: Interrupted): Promise<void> {
    const note = (one: Interrupted) => this.#crowd.note(one, `${this.mode} ${this.lastAct}`)
    note(first)
    const client = this.connection
    if (client === null || client !== first.client) return
    if (!first.isOver) {
      try {
        await assertWorks(client, this.mark(), note)
        client.received.length = 0
        if (WITHOUT_TRACE.test(this.lastAct)) return
      } catch (error) {
        if (!(error instanceof Interrupted)) throw this.#explained(error as Error)
        note(error)
      }
    } else if (first.code !== 'lost') {
      const ended = await Promise.race([client.closed, pause(END_MS, null, { ref: false })])
      if (ended === null) throw new Error(`the connection is open ${END_MS} ms after ${first.message}`)
    }
    await this.forget()
  }

  #lost({ message }: Error): Interrupted {
    return new Interrupted('lost', message, this.connection)
  }

  #explained(error: Error): Error {
    const text = `application ${this.number} (${this.mode}) in "${this.lastAct}": ${error.message}`
    return new Error(text, { cause: error })
  }
}

export class Crowd {
  readonly world: World
  readonly doors = new Doors()
  readonly members: readonly Member[]
  /** Errors told to applications since the last `takeErrors`, by SQLSTATE. */
  readonly #errors = new Map<string, number>()
  readonly #failed = Promise.withResolvers<never>()
  #allowed: ReadonlySet<string> = new Set()
  #isOver = false
  #gate: PromiseWithResolvers<void> | null = null
  readonly #atGate = new Set<Member>()
  #steps = new Map<Member, number>()
  #loops: Promise<void>[] = []

  constructor(world: World, random: Prng) {
    this.world = world
    const modes = APPLICATIONS.flatMap(([mode, count]) => Array.from({ length: count }, () => mode))
    this.members = modes.map((mode, number) => new Member(number + 1, random.fork(), this, mode))
    this.#failed.promise.catch(() => {})
  }

  /** Rejects with what an application must not have seen. */
  get failed(): Promise<never> {
    return this.#failed.promise
  }

  get exchanges(): number {
    return this.members.reduce((sum, member) => sum + member.exchanges, 0)
  }

  start(): void {
    this.#loops = this.members.map((member) => this.#work(member).catch(this.#failed.reject))
  }

  /** From now on these SQLSTATEs are what a fault does. */
  allow(codes: readonly string[]): void {
    this.#allowed = new Set(codes)
  }

  /** An application was told this. */
  note({ code, message }: Interrupted, where: string): void {
    this.#errors.set(code, (this.#errors.get(code) ?? 0) + 1)
    if (!this.#allowed.has(code)) {
      const allowed = [...this.#allowed].join(' ') || 'none'
      throw new Error(`${where}: an error that no fault explains (allowed: ${allowed}): ${code}: ${message}`)
    }
  }

  /** Errors since the last time, as `08006:3 lost:1`. */
  takeErrors(): string {
    const text = [...this.#errors].sort().map(([code, count]) => `${code}:${count}`)
    this.#errors.clear()
    return text.join(' ') || '-'
  }

  /**
   * Resolves when each application has begun and ended an act from now on.
   * @throws where an act does not end
   */
  round(): Promise<void> {
    const before = new Map(this.#steps)
    return this.#all((member) => (this.#steps.get(member) ?? 0) >= (before.get(member) ?? 0) + 2)
  }

  /**
   * Resolves when no application is in an act; none begins one until `resume`.
   * @throws where an act does not end: somebody waits for what does not come
   */
  async lull(): Promise<void> {
    this.#gate ??= Promise.withResolvers<void>()
    await this.#all((member) => this.#atGate.has(member))
  }

  async #all(isDone: (member: Member) => boolean): Promise<void> {
    const until = performance.now() + ACT_MS
    for (;;) {
      const late = this.members.filter((member) => !isDone(member))
      if (late.length === 0) return
      const acts = late.map(({ mode, lastAct }) => `${mode} ${lastAct}`).join(', ')
      if (performance.now() > until) throw new Error(`in an act for ${ACT_MS} ms without a fault: ${acts}`)
      await Promise.race([pause(20), this.failed])
    }
  }

  resume(): void {
    this.#gate?.resolve()
    this.#gate = null
  }

  async stop(): Promise<void> {
    this.#isOver = true
    this.resume()
    await Promise.race([Promise.all(this.#loops), this.failed])
  }

  /** Ends at once, whatever is under way. */
  abort(): void {
    this.#isOver = true
    this.resume()
    for (const client of this.doors.open) client.destroy()
  }

  async #work(member: Member): Promise<void> {
    while (!this.#isOver) {
      if (this.#gate !== null) {
        await member.rest()
        this.#atGate.add(member)
        await this.#gate?.promise
        this.#atGate.delete(member)
      }
      await member.step()
      this.#steps.set(member, (this.#steps.get(member) ?? 0) + 1)
      await pause(member.random.below(REST))
    }
    await member.forget()
  }
}
