// Owns the one contract that every ByteStream keeps. Run by stream-contract.test.ts for memory, TCP, Unix and
// TLS.
import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import type { ByteStream, StreamHandler } from '../../../src/wire/byte-stream.ts'

/** Two ends of one connection. */
export interface Pair {
  a: ByteStream
  b: ByteStream
}

/** A handler that remembers what it was told and lets a test wait for it. */
export class Recorder implements StreamHandler {
  readonly chunks: Buffer[] = []
  readonly closes: string[] = []
  bytes = 0
  ends = 0
  drains = 0
  #waiting: { when: () => boolean; resolve: () => void }[] = []

  /** Resolves as soon as `when` holds. */
  until(when: () => boolean): Promise<void> {
    if (when()) return Promise.resolve()
    return new Promise((resolve) => this.#waiting.push({ when, resolve }))
  }

  closed(): Promise<void> {
    return this.until(() => this.closes.length > 0)
  }

  data(): Buffer {
    return Buffer.concat(this.chunks)
  }

  onData(chunk: Buffer): void {
    this.chunks.push(Buffer.from(chunk))
    this.bytes += chunk.length
    this.check()
  }

  onDrain(): void {
    this.drains++
    this.check()
  }

  onEnd(): void {
    this.ends++
    this.check()
  }

  onClose(reason: string): void {
    this.closes.push(reason)
    this.check()
  }

  check(): void {
    const waiting = this.#waiting
    this.#waiting = waiting.filter((w) => !w.when())
    for (const w of waiting) if (!this.#waiting.includes(w)) w.resolve()
  }
}

/** Gives both ends a recorder. */
export function record(pair: Pair): { ra: Recorder; rb: Recorder } {
  const ra = new Recorder()
  const rb = new Recorder()
  pair.a.handler = ra
  pair.b.handler = rb
  return { ra, rb }
}

/** Lets the event loop turn: enough for loopback bytes to arrive if anything lets them. */
export async function turns(count = 20): Promise<void> {
  for (let i = 0; i < count; i++) await new Promise((resolve) => setImmediate(resolve))
}

/** Writes as long as the stream takes more, at most `limit` bytes. */
export function fill(stream: ByteStream, limit = 64 * 1024 * 1024): number {
  const chunk = Buffer.alloc(16 * 1024, 7)
  let written = 0
  while (written < limit) {
    written += chunk.length
    if (!stream.write(chunk)) return written
  }
  throw new Error('the stream never asked to stop')
}

/** A block of bytes in which each place can be told from its neighbours. */
export function pattern(length: number, seed = 1): Buffer {
  const block = Buffer.allocUnsafe(length)
  for (let i = 0; i < length; i++) block[i] = (i * 31 + (i >> 8) * 17 + seed) & 255
  return block
}

/** Declares the contract. `connect` makes a new pair; both ends take handlers at once. */
export function streamContract(name: string, connect: () => Promise<Pair>): void {
  describe(`stream contract: ${name}`, () => {
    flowCases(connect)
    pauseCases(connect)
    closeCases(connect)
    failureCases(connect)
    relayCases(connect)
  })
}

function flowCases(connect: () => Promise<Pair>): void {
  it('keeps bytes in order, small and large chunks mixed', async () => {
    const pair = await connect()
    const { rb } = record(pair)
    const all = pattern(700_000)
    let at = 0
    for (let i = 0; at < all.length; i++) {
      const size = i % 7 === 0 ? 9000 : (i * 37) % 300
      pair.a.write(all.subarray(at, at + size))
      at = Math.min(all.length, at + size)
      if (i % 50 === 0) await turns(1)
    }
    await rb.until(() => rb.bytes === all.length)
    assert.deepEqual(rb.data(), all)
    pair.a.destroy('test over')
  })

  it('carries bytes both ways and never delivers inside write', async () => {
    const pair = await connect()
    const { ra, rb } = record(pair)
    pair.a.write(Buffer.from('ping'))
    pair.b.write(Buffer.from('pong'))
    pair.a.write(Buffer.alloc(0))
    assert.equal(ra.bytes + rb.bytes, 0)
    await ra.until(() => ra.bytes === 4)
    await rb.until(() => rb.bytes === 4)
    assert.equal(`${ra.data()}${rb.data()}`, 'pongping')
    pair.b.destroy('test over')
  })

  it('says false when enough is unsent, and calls onDrain when the peer has taken it', async () => {
    const pair = await connect()
    const { ra, rb } = record(pair)
    pair.b.pause()
    let written = 0
    // The kernel takes some of it: go on until it does not.
    for (let i = 0; i < 200 && (i < 3 || ra.drains > 0); i++) {
      ra.drains = 0
      written += fill(pair.a)
      await turns(10)
    }
    assert.equal(ra.drains, 0)
    assert.ok(pair.a.unsent > 0)
    pair.b.resume()
    await ra.until(() => ra.drains > 0)
    assert.equal(ra.drains, 1)
    assert.equal(pair.a.unsent, 0)
    await rb.until(() => rb.bytes === written)
    pair.a.destroy('test over')
  })

  it('moves 50 MB to a slow reader in bounded memory', async () => {
    const pair = await connect()
    const { ra, rb } = record(pair)
    const total = 50 * 1024 * 1024
    const block = Buffer.alloc(100_000, 5)
    let sent = 0
    let most = 0
    const produce = (): void => {
      while (sent < total) {
        const chunk = block.subarray(0, Math.min(block.length, total - sent))
        sent += chunk.length
        const more = pair.a.write(chunk)
        most = Math.max(most, pair.a.unsent)
        if (!more) return
      }
    }
    ra.onDrain = produce
    let got = 0
    rb.onData = (chunk) => {
      got += chunk.length
      pair.b.pause()
      setImmediate(() => pair.b.resume())
      rb.check()
    }
    produce()
    await rb.until(() => got === total)
    assert.ok(most <= 64 * 1024 + block.length, `${most} bytes were held`)
    pair.a.destroy('test over')
  })
}

function pauseCases(connect: () => Promise<Pair>): void {
  it('delivers nothing while paused and everything after resume', async () => {
    const pair = await connect()
    const { rb } = record(pair)
    pair.b.pause()
    pair.a.write(Buffer.from('one'))
    await turns()
    pair.a.write(Buffer.from('two'))
    await turns()
    assert.equal(rb.bytes, 0)
    pair.b.resume()
    assert.equal(rb.bytes, 0, 'resume must not deliver by itself')
    pair.b.pause()
    pair.b.resume()
    await rb.until(() => rb.bytes === 6)
    assert.equal(rb.data().toString(), 'onetwo')
    pair.a.destroy('test over')
  })

  it('holds back the end of the peer while paused', async () => {
    const pair = await connect()
    const { ra, rb } = record(pair)
    pair.b.pause()
    pair.a.end(Buffer.from('last'))
    await turns()
    assert.equal(rb.bytes + rb.ends, 0)
    pair.b.resume()
    await rb.until(() => rb.ends === 1)
    assert.equal(rb.data().toString(), 'last')
    pair.b.end()
    await Promise.all([ra.closed(), rb.closed()])
  })

  it('follows a handler that pauses in the middle of what was held', async () => {
    const pair = await connect()
    const { rb } = record(pair)
    const all = pattern(300_000)
    const seen: Buffer[] = []
    rb.onData = (chunk) => {
      seen.push(Buffer.from(chunk))
      rb.bytes += chunk.length
      pair.b.pause()
      process.nextTick(() => pair.b.resume())
      rb.check()
    }
    pair.a.end(all)
    await rb.until(() => rb.ends === 1)
    assert.deepEqual(Buffer.concat(seen), all)
    pair.b.end()
    await rb.closed()
  })

  it('gives what comes next to the handler that was set last', async () => {
    const pair = await connect()
    const { rb } = record(pair)
    pair.a.write(Buffer.from('old'))
    await rb.until(() => rb.bytes === 3)
    const next = new Recorder()
    pair.b.handler = next
    pair.a.write(Buffer.from('new'))
    await next.until(() => next.bytes === 3)
    assert.equal(rb.bytes, 3)
    pair.a.destroy('test over')
  })
}

function closeCases(connect: () => Promise<Pair>): void {
  it('flushes before it closes, and both ends close in order', async () => {
    const pair = await connect()
    const { ra, rb } = record(pair)
    const all = pattern(1_000_000)
    pair.a.write(all.subarray(0, 999_000))
    pair.a.end(all.subarray(999_000))
    assert.equal(ra.closes.length, 0)
    await rb.until(() => rb.ends === 1)
    assert.deepEqual(rb.data(), all)
    assert.equal(rb.closes.length, 0, 'still writable after the peer has ended')
    pair.b.end(Buffer.from('thrown away'))
    await Promise.all([ra.closed(), rb.closed()])
    assert.deepEqual([ra.closes, rb.closes], [['closed by us'], ['closed by us']])
    assert.deepEqual([ra.bytes, ra.ends, rb.ends], [0, 0, 1])
  })

  it('does nothing on write, end and destroy after end', async () => {
    const pair = await connect()
    const { ra, rb } = record(pair)
    pair.a.end(Buffer.from('x'))
    assert.equal(pair.a.write(Buffer.from('late')), true)
    pair.a.end(Buffer.from('later'))
    await rb.until(() => rb.ends === 1)
    assert.equal(rb.data().toString(), 'x')
    pair.b.end()
    await ra.closed()
    pair.a.destroy('again')
    await turns()
    assert.equal(ra.closes.length, 1)
  })

  it('closes once on destroy, in a later turn, with the reason given', async () => {
    const pair = await connect()
    const { ra, rb } = record(pair)
    pair.a.destroy('because of a test')
    pair.a.destroy('again')
    pair.a.write(Buffer.from('late'))
    pair.a.pause()
    pair.a.resume()
    assert.equal(ra.closes.length, 0)
    await ra.closed()
    await rb.until(() => rb.ends + rb.closes.length > 0)
    pair.b.end()
    await rb.closed()
    await turns()
    assert.deepEqual(ra.closes, ['because of a test'])
    assert.deepEqual([rb.closes.length, rb.bytes, ra.drains], [1, 0, 0])
    assert.equal(pair.a.unsent, 0)
  })

  it('closes when it writes to a peer that is gone', async () => {
    const pair = await connect()
    const { rb } = record(pair)
    pair.a.destroy('gone')
    rb.onEnd = () => {
      rb.ends++
      const again = (): void => {
        if (rb.closes.length > 0) return
        pair.b.write(Buffer.alloc(1000))
        setImmediate(again)
      }
      again()
    }
    await rb.closed()
    assert.equal(rb.closes.length, 1)
    assert.notEqual(rb.closes[0], '')
  })
}

function failureCases(connect: () => Promise<Pair>): void {
  it('closes only the stream whose handler throws', async () => {
    const [broken, whole] = [await connect(), await connect()]
    const { rb } = record(broken)
    const other = record(whole)
    rb.onData = () => {
      throw new Error('boom')
    }
    broken.a.write(Buffer.from('x'))
    await rb.closed()
    assert.deepEqual(rb.closes, ['internal error: boom'])
    whole.a.write(Buffer.from('alive'))
    await other.rb.until(() => other.rb.bytes === 5)
    whole.a.destroy('test over')
  })

  it('survives a handler that throws in onDrain, onEnd and onClose', async () => {
    const pair = await connect()
    const { ra, rb } = record(pair)
    ra.onDrain = () => {
      throw new Error('in drain')
    }
    const close = rb.onClose
    rb.onClose = (reason) => {
      close.call(rb, reason)
      throw new Error('in close')
    }
    rb.onEnd = () => {
      throw new Error('in end')
    }
    fill(pair.a)
    await ra.closed()
    assert.deepEqual(ra.closes, ['internal error: in drain'])
    await rb.closed()
    assert.equal(rb.closes.length, 1)
  })
}

function relayCases(connect: () => Promise<Pair>): void {
  it('lets chunks of onData be written on unchanged', async () => {
    const [left, right] = [await connect(), await connect()]
    const rl = record(left)
    const rr = record(right)
    rl.rb.onData = (chunk) => {
      if (!right.a.write(chunk)) left.b.pause()
    }
    rr.ra.onDrain = () => left.b.resume()
    const all = pattern(3_000_000)
    let at = 0
    const produce = (): void => {
      while (at < all.length) {
        const size = (at % 5) * 9000 + 100
        const chunk = all.subarray(at, at + size)
        at += chunk.length
        if (!left.a.write(chunk)) return
      }
    }
    rl.ra.onDrain = produce
    produce()
    await rr.rb.until(() => rr.rb.bytes === all.length)
    assert.deepEqual(rr.rb.data(), all)
    left.a.destroy('test over')
    right.a.destroy('test over')
  })
}
