// Owns: what a world's pooler says of the exchanges that it traces. Each must end once, in the order of its
// times, and none may be left behind when all clients have gone. Must never be the reason why something
// happens.
import type { ExchangeTrace, Tracer } from '../../src/session/exchange-trace.ts'

export class TraceLedger implements Tracer {
  readonly #clock: () => number
  readonly #taken = new Set<ExchangeTrace>()
  #begun = 0
  #drawn = 0
  /** The first thing that was wrong; '' : nothing. */
  problem = ''

  constructor(clock: () => number) {
    this.#clock = clock
  }

  now(): number {
    return this.#clock()
  }

  /** Two of three: what is not traced stands between those that are. */
  draws(): boolean {
    return ++this.#drawn % 3 !== 0
  }

  hasRoom(): boolean {
    this.#begun++
    return true
  }

  take(trace: ExchangeTrace): void {
    const { beganAt, grantedAt, sentAt, broughtAt, endedAt, broken } = trace
    const times = `${beganAt} ${grantedAt} ${sentAt} ${broughtAt} ${endedAt} ${broken}`
    if (this.#taken.has(trace)) this.#wrong(`ended twice: ${times}`)
    this.#taken.add(trace)
    if (beganAt <= 0 || endedAt < beganAt || endedAt < sentAt) this.#wrong(`ends before it begins: ${times}`)
    if (grantedAt > 0 && (grantedAt < beganAt || (sentAt > 0 && sentAt < grantedAt)))
      this.#wrong(`waits at another time: ${times}`)
    if (broughtAt > endedAt) this.#wrong(`is brought behind its end: ${times}`)
    if (sentAt === 0 && broken === '') this.#wrong(`has an end without having been sent: ${times}`)
  }

  #wrong(what: string): void {
    if (this.problem === '') this.problem = `a trace ${what}`
  }

  /** When all clients have gone. */
  get left(): number {
    return this.#begun - this.#taken.size
  }
}
