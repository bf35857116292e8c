// When memory counts as nearly used up, and when it is well again.
import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { type MemoryReading, MemoryWatch, readMemory } from '../../../src/observe/memory-watch.ts'

const MIB = 1024 * 1024

/** A watch over numbers that the test sets. */
function watch(): {
  memory: MemoryWatch
  reading: { -readonly [K in keyof MemoryReading]: MemoryReading[K] }
} {
  const reading = { rss: 100 * MIB, limit: Number.POSITIVE_INFINITY, heap: 10 * MIB, heapLimit: 1000 * MIB }
  return { memory: new MemoryWatch(() => reading), reading }
}

describe('MemoryWatch', () => {
  it('is short from nine tenths of a container on, and until it is below eight', () => {
    const { memory, reading } = watch()
    reading.limit = 200 * MIB
    assert.equal(memory.tick(0, 0), false)
    reading.rss = 181 * MIB
    assert.equal(memory.tick(1000, 0), true)
    assert.ok(memory.isShort)
    reading.rss = 170 * MIB
    assert.equal(memory.tick(2000, 0), false)
    assert.ok(memory.isShort)
    reading.rss = 150 * MIB
    assert.equal(memory.tick(3000, 0), true)
    assert.ok(!memory.isShort)
  })

  it('takes the limit of the operator as it stands, in place of the container’s', () => {
    const { memory, reading } = watch()
    reading.limit = 101 * MIB
    memory.tick(0, 120 * MIB)
    assert.ok(!memory.isShort)
    reading.rss = 121 * MIB
    memory.tick(1000, 120 * MIB)
    assert.ok(memory.isShort)
  })

  it('is short when the heap is', () => {
    const { memory, reading } = watch()
    reading.heap = 950 * MIB
    memory.tick(0, 0)
    assert.ok(memory.isShort)
  })

  it('looks once a second', () => {
    const { memory, reading } = watch()
    memory.tick(0, 0)
    reading.heap = 950 * MIB
    assert.equal(memory.tick(999, 0), false)
    assert.equal(memory.tick(1000, 0), true)
  })

  it('reads this process', () => {
    const { rss, heap, heapLimit, limit } = readMemory()
    assert.ok(rss > heap && heap > MIB && heapLimit > heap && limit > rss)
  })
})
