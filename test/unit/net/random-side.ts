// Owns one end of a connection that is driven at random, a stream of ours or a socket of Node's, and what it
// was told. Each place of what an end sends can be told from its neighbours, so that nothing is out of order
// unseen.
import assert from 'node:assert/strict'
import type { Socket } from 'node:net'
import type { TcpStream } from '../../../src/net/tcp-stream.ts'
import type { Prng } from '../../support/prng.ts'
import { pattern } from './stream-contract.ts'

/** What either kind of end can do and tell. */
export interface End {
  readonly isOurs: boolean
  /** Sets who is told. */
  listen(to: Listening): void
  write(bytes: Buffer): void
  pause(): void
  resume(): void
  end(): void
  destroy(): void
  /** Closes so that the peer gets a reset; ours has no such thing. */
  reset(): void
}

interface Listening {
  onData(chunk: Buffer): void
  onEnd(): void
  onClose(): void
  onDrain(): void
}

export class Mine implements End {
  readonly isOurs = true
  readonly stream: TcpStream

  constructor(stream: TcpStream) {
    this.stream = stream
  }

  listen(to: Listening): void {
    this.stream.handler = to
  }

  write(bytes: Buffer): void {
    this.stream.write(bytes)
  }

  pause(): void {
    this.stream.pause()
  }

  resume(): void {
    this.stream.resume()
  }

  end(): void {
    this.stream.end()
  }

  destroy(): void {
    this.stream.destroy('as the seed says')
  }

  reset(): void {
    this.destroy()
  }
}

export class Theirs implements End {
  readonly isOurs = false
  readonly #socket: Socket

  constructor(socket: Socket) {
    this.#socket = socket
  }

  listen(to: Listening): void {
    const socket = this.#socket
    socket.on('data', (chunk) => to.onData(chunk))
    socket.on('end', () => to.onEnd())
    socket.on('error', () => {})
    socket.on('close', () => to.onClose())
  }

  write(bytes: Buffer): void {
    if (this.#socket.writable) this.#socket.write(bytes)
  }

  pause(): void {
    this.#socket.pause()
  }

  resume(): void {
    this.#socket.resume()
  }

  end(): void {
    this.#socket.end()
  }

  destroy(): void {
    this.#socket.destroy()
  }

  reset(): void {
    this.#socket.resetAndDestroy()
  }
}

const PERIOD = 251 * 241
const BLOCK = pattern(PERIOD)
/** All that anybody says is a part of this, which repeats. */
const WORDS = Buffer.concat(Array.from({ length: 6 }, () => BLOCK))
const LONGEST = WORDS.length - PERIOD

export class Side implements Listening {
  other!: Side
  /** It ends when its peer has. */
  followsEnd = false
  /** It says nothing for a while. */
  isQuiet = false
  readonly over: Promise<void>
  readonly #end: End
  readonly #random: Prng
  readonly #closed = Promise.withResolvers<void>()
  #sent = 0
  #got = 0
  #ends = 0
  #closes = 0
  /** '' : it can still be written to. */
  #finish: '' | 'end' | 'destroy' | 'reset' = ''
  /** It had heard of the end of its peer before it ended. */
  #heardFirst = false
  #problem = ''

  constructor(end: End, random: Prng) {
    this.#end = end
    this.#random = random
    this.over = this.#closed.promise
    end.listen(this)
  }

  join(other: Side): void {
    this.other = other
    other.other = this
  }

  /** One thing of those that may go on. */
  act(): void {
    if (this.isQuiet) return
    const random = this.#random
    const roll = random.below(10)
    if (roll < 6) {
      const most = random.pick([1, 100, 5000, 70_000, LONGEST])
      for (let count = random.pick([1, 1, 5]); count > 0; count--) this.#write(random.between(1, most))
    } else if (roll < 8) {
      this.#end.pause()
      this.#resumeIn(random.between(1, 20))
    } else this.#end.resume()
  }

  #write(length: number): void {
    if (this.#finish !== '' || this.#closes > 0) return
    const start = this.#sent % PERIOD
    this.#sent += length
    this.#end.write(WORDS.subarray(start, start + length))
  }

  /** No pause is for ever. */
  #resumeIn(turns: number): void {
    if (turns === 0) this.#end.resume()
    else setImmediate(() => this.#resumeIn(turns - 1))
  }

  /** The last thing that it does. */
  finish(): void {
    const random = this.#random
    if (this.#finish !== '') return
    const how = random.pick(['end', 'end', 'end', 'destroy', 'reset'] as const)
    if (random.chance(0.5)) this.#write(random.between(1, LONGEST))
    this.#conclude(how)
  }

  #conclude(how: 'end' | 'destroy' | 'reset'): void {
    if (this.#finish !== '') return
    this.#finish = how
    this.#heardFirst = this.#ends > 0
    this.#end[how]()
  }

  /** All that the peer has said so far is here. */
  get hasAll(): boolean {
    return this.#got === this.other.#sent
  }

  onData(chunk: Buffer): void {
    if (this.#closes > 0) this.#problem ||= 'bytes behind the close'
    if (this.#ends > 0) this.#problem ||= 'bytes behind the end'
    if (this.#end.isOurs && this.#finish !== '') this.#problem ||= 'bytes behind our own end'
    for (let at = 0; at < chunk.length; ) {
      const start = this.#got % PERIOD
      const length = Math.min(chunk.length - at, WORDS.length - start)
      const isRight = chunk.compare(WORDS, start, start + length, at, at + length) === 0
      if (!isRight) this.#problem ||= `other bytes than were sent, within ${length} from ${this.#got}`
      this.#got += length
      at += length
    }
    // In the midst of being told it may do anything.
    if (this.#random.chance(0.1)) this.act()
    else if (this.#random.chance(0.2)) this.#end.resume()
  }

  onDrain(): void {
    if (this.#closes > 0) this.#problem ||= 'drained behind the close'
    if (this.#random.chance(0.3)) this.act()
    this.#end.resume()
  }

  onEnd(): void {
    if (this.#closes > 0) this.#problem ||= 'an end behind the close'
    this.#ends++
    if (this.followsEnd || this.#random.chance(0.3)) this.#conclude('end')
    // Nobody else would.
    else setImmediate(() => this.#conclude('end'))
  }

  onClose(): void {
    this.#closes++
    this.#closed.resolve()
  }

  words(): string {
    const { isOurs } = this.#end
    const state = `${this.#finish || 'open'}, ${this.#ends} ends, ${this.#closes} closes`
    return `${isOurs ? 'ours' : 'of Node'} has sent ${this.#sent}, got ${this.#got}, ${state}`
  }

  /** When both are over. */
  check(): void {
    const { other } = this
    assert.equal(this.#problem, '', `${this.words()}; ${other.words()}`)
    assert.equal(this.#closes, 1, 'closes')
    assert.ok(this.#ends <= 1, 'ends')
    assert.ok(this.#got <= other.#sent, this.words())
    if (this.#end.isOurs) assert.equal((this.#end as Mine).stream.unsent, 0)
    const isOrderly = this.#finish === 'end' && other.#finish === 'end'
    if (!isOrderly || (this.#end.isOurs && !this.#heardFirst)) return
    assert.equal(this.#got, other.#sent, `${this.words()}; ${other.words()}`)
    assert.equal(this.#ends, 1)
  }
}
