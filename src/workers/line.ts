// The line between the first process and one of its workers: messages that are only told, and questions with
// their answers. It owns the questions that are open; what they mean others know. A process at the other end
// that is gone answers nothing more: what is open fails.
import type { ChildProcess } from 'node:child_process'
import { ConsoleError } from '../admin/console/types.ts'
import type { RawHandle } from '../net/handed.ts'

/** What is done with what comes in; a result, or an error, is the answer to a question. */
export type Handlers = Readonly<Record<string, (body: never, handle: RawHandle | undefined) => unknown>>

interface Packet {
  readonly is: 'told' | 'asked' | 'answer'
  readonly what: string
  readonly id: number
  readonly body: unknown
  readonly error?: Failure
}

/** An error on its way; of those that the console shows all that it shows. */
interface Failure {
  readonly message: string
  readonly code?: string
  readonly hint?: string
}

/** One end of Node's channel between two processes. */
export type Channel = Pick<ChildProcess, 'connected'> & {
  send?(message: object, handle?: never, options?: object, callback?: (error: Error | null) => void): boolean
  on(event: 'message', listener: (message: unknown, handle: unknown) => void): unknown
  on(event: 'disconnect', listener: () => void): unknown
}

export class Line {
  readonly #channel: Channel
  readonly #handlers: Handlers
  readonly #open = new Map<number, PromiseWithResolvers<unknown>>()
  #lastId = 0

  constructor(channel: Channel, handlers: Handlers) {
    this.#channel = channel
    this.#handlers = handlers
    channel.on('message', (message, handle) => this.#onPacket(message as Packet, handle as RawHandle))
    channel.on('disconnect', () => this.#onGone())
  }

  tell(what: string, body: unknown = null): void {
    this.#send({ is: 'told', what, id: 0, body })
  }

  /** @param handle a connection that goes with it @throws when it failed there, or the process is gone */
  ask<T>(what: string, body: unknown = null, handle?: RawHandle): Promise<T> {
    const id = ++this.#lastId
    const answer = Promise.withResolvers<unknown>()
    this.#open.set(id, answer)
    this.#send({ is: 'asked', what, id, body }, handle)
    if (!this.#channel.connected) this.#onGone()
    return answer.promise as Promise<T>
  }

  #send(packet: Packet, handle?: RawHandle): void {
    if (!this.#channel.connected) return
    // That the other end is gone is told by `disconnect`.
    this.#channel.send?.(packet, handle as never, {}, () => {})
  }

  #onPacket({ is, what, id, body, error }: Packet, handle: RawHandle | undefined): void {
    if (is === 'answer') {
      const answer = this.#open.get(id)
      this.#open.delete(id)
      if (error === undefined) answer?.resolve(body)
      else answer?.reject(errorOf(error))
    } else if (is === 'told') this.#handlers[what]?.(body as never, handle)
    else void this.#answer({ what, id }, body, handle)
  }

  async #answer(
    { what, id }: Pick<Packet, 'what' | 'id'>,
    body: unknown,
    handle: RawHandle | undefined,
  ): Promise<void> {
    try {
      const found = await this.#handlers[what]?.(body as never, handle)
      this.#send({ is: 'answer', what, id, body: found })
    } catch (thrown) {
      this.#send({ is: 'answer', what, id, body: null, error: failureOf(thrown as Error) })
    }
  }

  #onGone(): void {
    const open = [...this.#open.values()]
    this.#open.clear()
    for (const { reject } of open) reject(new Error('the process at the other end is gone'))
  }
}

function failureOf(error: Error): Failure {
  const { message } = error
  return error instanceof ConsoleError ? { message, code: error.code, hint: error.hint } : { message }
}

function errorOf({ message, code, hint }: Failure): Error {
  return code === undefined ? new Error(message) : new ConsoleError(code, message, hint)
}
