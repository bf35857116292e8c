// The queue of replies against a plain list: order, what an error skips, what is taken out of the middle.

import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import fc from 'fast-check'
import { Fate, Replies, Reply, REPLY_KIND } from '../../../src/pool/replies.ts'

/** The same queue, told as simply as possible. */
class Model {
  list: [number, unknown][] = []
  isSkipping = false

  push(code: number, ref: unknown): boolean {
    const isSync = (code & REPLY_KIND) === Reply.Sync
    if (this.isSkipping && !isSync) return false
    this.isSkipping = false
    this.list.push([code, ref])
    return true
  }

  skip(): [number, unknown][] {
    const sync = this.list.findIndex(([code]) => (code & REPLY_KIND) === Reply.Sync)
    this.isSkipping = sync < 0
    return this.list.splice(0, sync < 0 ? this.list.length : sync)
  }
}

function contents(replies: Replies): [number, unknown][] {
  return Array.from({ length: replies.size }, (_, place) => [replies.at(place), replies.refAt(place)])
}

const KINDS = Object.values(Reply)
const FATES = [0, 0, ...Object.values(Fate)]

describe('reply queue', () => {
  it('kinds and fates do not overlap', () => {
    for (const kind of KINDS) assert.equal(kind & REPLY_KIND, kind)
    let all: number = REPLY_KIND
    for (const fate of Object.values(Fate)) {
      assert.equal(all & fate, 0)
      all |= fate
    }
    assert.ok(all <= 255)
  })

  it('begins empty, with no head', () => {
    const replies = new Replies()
    assert.deepEqual([replies.size, replies.head, replies.headRef], [0, 0, null])
  })

  it('is first in, first out, over many growths', () => {
    const replies = new Replies()
    let next = 0
    for (let step = 0; step < 5000; step++) {
      replies.push(Reply.Bind, step)
      if (step % 3 === 0) {
        assert.equal(replies.headRef, next++)
        replies.shift()
      }
    }
    assert.equal(replies.size, 5000 - next)
    assert.equal(replies.headRef, next)
  })

  it('skips to the next Sync and no further', () => {
    const replies = new Replies()
    for (const code of [Reply.Parse, Reply.Bind, Reply.Sync, Reply.Parse]) replies.push(code, code)
    const dropped: unknown[] = []
    replies.skipToSync((_code, ref) => dropped.push(ref))
    assert.deepEqual(dropped, [Reply.Parse, Reply.Bind])
    assert.equal(replies.head, Reply.Sync)
    assert.equal(replies.isSkipping, false)
  })

  it('drops what comes behind an error until a Sync comes', () => {
    const replies = new Replies()
    replies.push(Reply.Parse, null)
    replies.skipToSync(() => {})
    assert.equal(replies.isSkipping, true)
    assert.equal(replies.push(Reply.Bind, null), false)
    assert.equal(replies.push(Reply.Query, null), false)
    assert.equal(replies.size, 0)
    assert.equal(replies.push(Reply.Sync, 'sync'), true)
    assert.equal(replies.push(Reply.Parse, 'parse'), true)
    assert.equal(replies.size, 2)
  })

  it('behaves as a list would, whatever is done with it', () => {
    const entry = fc.record({ kind: fc.constantFrom(...KINDS), fate: fc.constantFrom(...FATES) })
    const act = fc.oneof(
      { weight: 8, arbitrary: entry.map(({ kind, fate }) => ({ do: 'push' as const, code: kind | fate })) },
      { weight: 4, arbitrary: fc.constant({ do: 'shift' as const, code: 0 }) },
      { weight: 1, arbitrary: fc.constant({ do: 'skip' as const, code: 0 }) },
      { weight: 1, arbitrary: fc.nat(30).map((code) => ({ do: 'remove' as const, code })) },
      { weight: 1, arbitrary: fc.nat(30).map((code) => ({ do: 'set' as const, code })) },
    )
    const run = (acts: { do: string; code: number }[]): void => {
      const replies = new Replies()
      const model = new Model()
      for (const [ref, { do: what, code }] of acts.entries()) {
        if (what === 'push') assert.equal(replies.push(code, ref), model.push(code, ref))
        else if (what === 'skip') {
          const dropped: [number, unknown][] = []
          replies.skipToSync((droppedCode, droppedRef) => dropped.push([droppedCode, droppedRef]))
          assert.deepEqual(dropped, model.skip())
        } else if (model.list.length > 0) {
          const place = code % model.list.length
          if (what === 'shift') {
            replies.shift()
            model.list.shift()
          } else if (what === 'remove') {
            replies.removeAt(place)
            model.list.splice(place, 1)
          } else {
            replies.setAt(place, replies.at(place) | Fate.Doubtful)
            model.list[place]![0] |= Fate.Doubtful
          }
        }
        assert.deepEqual(contents(replies), model.list)
        assert.equal(replies.isSkipping, model.isSkipping)
        assert.equal(replies.head, model.list[0]?.[0] ?? 0)
        assert.equal(replies.headRef, model.list[0]?.[1] ?? null)
      }
    }
    fc.assert(fc.property(fc.array(act, { maxLength: 120 }), run), { numRuns: 300 })
  })
})
