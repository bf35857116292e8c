// Commands that a client of another process has given: they run here without a client. It owns those that
// wait, each under the number that the other process knows it by; rights were asked for where the client is.
import { COMMANDS } from './commands.ts'
import type { Value } from '../../wire/rows.ts'
import { ConsoleError, type Operator } from './types.ts'

/** Who acts, without what belongs to a client. */
export type Host = Pick<Operator, 'source' | 'averages' | 'sessions'>

interface Waiting {
  readonly isOver: () => boolean
  readonly done: PromiseWithResolvers<void>
}

const BY_NAME = new Map(COMMANDS.map((command) => [command.name, command]))

export class Elsewhere {
  readonly #host: () => Host
  readonly #waiting = new Map<number, Waiting>()

  constructor(host: () => Host) {
    this.#host = host
  }

  /** All rows of a command of this name. */
  rows(name: string): Value[][] {
    const command = BY_NAME.get(name)
    const found = command?.rows?.(this.#operator(0)) ?? []
    return Array.from(found, (row) => [...row])
  }

  /** Runs it. @throws ConsoleError */
  async act(id: number, name: string, argument: string): Promise<void> {
    await BY_NAME.get(name)?.act?.(this.#operator(id), argument)
  }

  /** The client has given up waiting. */
  abandon(id: number): void {
    this.#waiting.get(id)?.done.reject(new ConsoleError('57014', 'canceling statement due to user request'))
    this.#waiting.delete(id)
  }

  tick(): void {
    for (const [id, { isOver, done }] of this.#waiting) {
      if (!isOver()) continue
      this.#waiting.delete(id)
      done.resolve()
    }
  }

  #operator(id: number): Operator {
    const { source, averages, sessions } = this.#host()
    return {
      source,
      averages,
      sessions,
      wait: (isOver) => this.#wait(id, isOver),
      setApplicationName: () => {},
    }
  }

  async #wait(id: number, isOver: () => boolean): Promise<void> {
    if (isOver()) return
    const done = Promise.withResolvers<void>()
    this.#waiting.set(id, { isOver, done })
    await done.promise
  }
}
