// Owns: one simulated client: sends its script piece by piece, collects the answers, and misbehaves where the
// seed says so. Must never import from src/wire: what it sees is checked by the tests' own parser.

import type { StreamHandler } from '../../src/wire/byte-stream.ts'
import type { MemoryStream } from '../support/memory-stream.ts'
import { type BackendMessage, BackendParser } from '../support/messages.ts'
import * as m from '../support/messages.ts'
import type { Prng } from '../support/prng.ts'
import type { Part, Script } from './script.ts'

/** How a client goes against the rules; all of it may be absent. */
export interface Habits {
  readonly random: Prng
  /** The connection breaks after so many bytes of the script; Infinity for never. */
  readonly diesAfter: number
  /** Says Terminate in front of the break. */
  readonly saysGoodbye: boolean
  /** How often it stops reading for a while. */
  readonly pauses: number
  /** How often it asks for a cancel. */
  readonly cancels: number
  /** Longest pause between two pieces, in milliseconds. */
  readonly thinksMs: number
}

/** What a client is given of its world. */
export interface UserWorld {
  after(ms: number, run: () => void): void
  /** Opens a connection; the stream is the client's end. */
  connect(): MemoryStream
  onOver(user: SimUser): void
}

const PAUSES_MAX = 20

export class SimUser implements StreamHandler {
  readonly script: Script
  /** All messages, login included. */
  readonly messages: BackendMessage[] = []
  /** Index of the first message behind the login. */
  loginEnd = -1
  /** The script was said to its end and all of it answered. */
  isDone = false
  /** The connection is over, for this reason. */
  closed = ''
  /** It broke the connection by itself. */
  hasDied = false
  /** Numbers of statements in a batch that it broke off before its Sync. */
  halfSaid: string[] = []
  /** A cancel hit something that it was not asked for. */
  cancelledLate = false
  ready = 0
  expectedReady = 1
  /** More of them that a fault explains. */
  spareReady = 0
  problem = ''
  stream: MemoryStream
  pid = 0
  key: Buffer = Buffer.alloc(0)
  readonly #habits: Habits
  readonly #world: UserWorld
  readonly #parser = new BackendParser()
  readonly #parts: Part[]
  #part: Part | null = null
  #partReady = 0
  #endedReady = false
  #owed = 0
  #partNumber = 0
  /** Pieces during which a cancel has come to the pooler. */
  readonly #cancelledIn = new Set<number>()
  #sent = 0
  #pausesLeft = PAUSES_MAX

  constructor(script: Script, habits: Habits, world: UserWorld) {
    this.script = script
    this.#habits = habits
    this.#world = world
    this.#parts = script.actions.flat()
    this.stream = world.connect()
    this.stream.handler = this
    this.#write(m.startup(script.parameters))
  }

  /** Waits for an answer, or has more to say. */
  get isOpen(): boolean {
    return this.closed === '' && !this.isDone
  }

  onData(chunk: Buffer): void {
    try {
      for (const message of this.#parser.push(chunk)) this.#onMessage(message)
    } catch (error) {
      this.problem = (error as Error).message
    }
    if (this.closed === '') this.#maybePause()
  }

  onDrain(): void {}

  onEnd(): void {
    this.#close('the server ended the connection')
    this.stream.end()
  }

  onClose(reason: string): void {
    this.#close(reason)
  }

  /** Says goodbye. */
  leave(): void {
    if (this.closed !== '') return
    this.stream.resume()
    this.stream.end(m.terminate())
  }

  #onMessage(message: BackendMessage): void {
    this.messages.push(message)
    if (message.type === 'E' && message.code === '57014') this.#onCancelled(message.message)
    if (message.type === 'K') {
      this.pid = message.pid
      this.key = Buffer.from(message.key)
    }
    if (message.type === 'Z') {
      this.ready++
      this.#partReady++
      if (this.loginEnd < 0) {
        this.loginEnd = this.messages.length
        this.#next(false)
        return
      }
    }
    const part = this.#part
    if (part === null) {
      // The server was lost inside a COPY, while the client thought about its data.
      if (message.type === 'Z' && this.#owed > 0) {
        this.#owed--
        this.expectedReady++
        this.#endedReady = true
      }
      return
    }
    const isReady = message.type === 'Z' && part.ready > 0 && this.#partReady >= part.ready
    if (isReady || part.until.includes(message.type)) {
      // ReadyForQuery of this part that does not come, because the wait ended before.
      if (!isReady) this.expectedReady -= part.ready
      this.#owed = isReady ? 0 : part.ready
      this.#next(isReady)
    }
  }

  /** A cancel of this client has arrived. */
  noteCancel(): void {
    this.#cancelledIn.add(this.#partNumber)
  }

  /** Only what ran when a cancel came may be hit, never what was asked for later. */
  #onCancelled(text: string): void {
    if (!text.endsWith('due to user request') || this.#cancelledIn.has(this.#partNumber)) return
    // A COPY that failed did not eat its Sync: from then on the client hears one ReadyForQuery too early.
    if (this.spareReady > 0 && this.#cancelledIn.has(this.#partNumber - 1)) return
    this.cancelledLate = true
  }

  #next(endedReady: boolean): void {
    this.#part = null
    this.#endedReady = endedReady
    this.#world.after(this.#habits.random.between(0, this.#habits.thinksMs), () => this.#say())
  }

  #say(): void {
    if (this.closed !== '' || this.hasDied) return
    const part = this.#parts.shift()
    if (part === undefined) {
      this.isDone = true
      this.#world.onOver(this)
      return
    }
    if (part.onlyInside === true && this.#endedReady) {
      this.#next(true)
      return
    }
    this.#part = part
    // What follows on a Flush belongs to the same exchange.
    if (this.#endedReady) this.#partNumber++
    this.#partReady = 0
    this.expectedReady += part.ready
    this.spareReady += part.spare ?? 0
    const left = this.#habits.diesAfter - this.#sent
    if (part.bytes.length > left) this.#die(part.bytes.subarray(0, Math.max(0, left)))
    else {
      this.#write(part.bytes)
      this.#maybeCancel()
    }
  }

  #write(bytes: Buffer): void {
    this.#sent += bytes.length
    this.stream.write(bytes)
  }

  /** Breaks off in the middle of what it wanted to say. */
  #die(bytes: Buffer): void {
    const { random, saysGoodbye } = this.#habits
    this.hasDied = true
    this.halfSaid =
      unfinished(bytes)
        .toString('latin1')
        .match(/c\d+:\d+(?=['\0])/g) ?? []
    this.stream.write(bytes)
    this.#world.after(random.between(0, 30), () => {
      this.#close('died')
      if (saysGoodbye) this.stream.end(m.terminate())
      else if (random.chance(0.5)) this.stream.reset()
      else this.stream.destroy('died')
    })
  }

  #maybePause(): void {
    const { random, pauses } = this.#habits
    if (this.#pausesLeft === 0 || !random.chance(pauses)) return
    this.#pausesLeft--
    this.stream.pause()
    this.#world.after(random.between(1, 300), () => this.stream.resume())
  }

  #maybeCancel(): void {
    const { random, cancels } = this.#habits
    if (!random.chance(cancels)) return
    this.#world.after(random.between(0, 60), () => {
      if (this.closed !== '' || this.pid === 0) return
      if (this.#part === null) return
      const stream = this.#world.connect()
      stream.handler = { onData() {}, onDrain() {}, onEnd: () => stream.end(), onClose() {} }
      stream.write(m.cancelRequest(this.pid, this.key))
    })
  }

  #close(reason: string): void {
    if (this.closed !== '') return
    this.closed = reason
    this.#world.onOver(this)
  }
}

/** What follows on the last whole Query or Sync. */
function unfinished(bytes: Buffer): Buffer {
  let done = 0
  for (let at = 0; at + 5 <= bytes.length; ) {
    const end = at + 1 + bytes.readInt32BE(at + 1)
    if (end > bytes.length) break
    if (bytes[at] === 0x51 || bytes[at] === 0x53) done = end
    at = end
  }
  return bytes.subarray(done)
}
