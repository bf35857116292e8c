// The bookkeeping of prepared statements: what a name stands for while changes are under way, the budget of a
// pool, what a server has. A failed or skipped Parse changes nothing.

import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import fc from 'fast-check'
import { ServerStatements } from '../../../src/session/server-statements.ts'
import { Registry } from '../../../src/session/registry.ts'
import { ClientStatements, Definition, type PendingName } from '../../../src/session/statements.ts'
import { type Effects, plainEffects } from '../../../src/sql/effects.ts'
import { Fact } from '../../../src/sql/scanner.ts'

const body = (text: string) => Buffer.from(`${text}\0\0\0`)
const noFacts = () => plainEffects(0)

function acquire(registry: Registry, text: string, parseKey = 1): Definition {
  const definition = registry.acquire(body(text), parseKey, noFacts)
  assert.ok(definition !== null)
  return definition
}

describe('registry', () => {
  it('keeps a text in memory of its own, not in a piece of something larger', () => {
    const { body: kept } = acquire(new Registry(1e6), 'select 1')
    assert.deepEqual(kept, body('select 1'))
    assert.equal(kept.buffer.byteLength, kept.length)
  })

  it('gives equal texts under equal settings one definition, and asks for facts once', () => {
    const registry = new Registry(1e6)
    let asked = 0
    const facts = (): Effects => {
      asked++
      return plainEffects(Fact.Ends)
    }
    const one = registry.acquire(body('select 1'), 1, facts)
    const same = registry.acquire(body('select 1'), 1, facts)
    assert.equal(one, same)
    assert.equal(asked, 1)
    assert.equal(one?.mayEndTransaction, true)
    assert.notEqual(acquire(registry, 'select 1', 2), one)
    assert.notEqual(acquire(registry, 'select 2'), one)
  })

  it('makes another definition of a text when the database has changed', () => {
    const database = { schema: 1 }
    const registry = new Registry(1e6, database)
    const one = acquire(registry, 'select 1')
    database.schema = 2
    const two = acquire(registry, 'select 1')
    assert.notEqual(one.name, two.name)
    assert.equal(acquire(registry, 'select 1'), two)
  })

  it('shares nothing that was parsed under unknown settings, and forgets it at once', () => {
    const registry = new Registry(1e6)
    const one = acquire(registry, 'select 1', 0)
    const two = acquire(registry, 'select 1', 0)
    assert.notEqual(one.id, two.id)
    registry.release(one)
    registry.release(two)
    assert.deepEqual([registry.bytes, registry.size], [0, 0])
  })

  it('copies the text: a chunk may be overwritten', () => {
    const registry = new Registry(1e6)
    const source = body('select 1')
    const definition = registry.acquire(source, 1, noFacts)
    source.fill(0x20)
    assert.deepEqual(definition?.body, body('select 1'))
    assert.equal(acquire(registry, 'select 1'), definition)
  })

  it('keeps what nobody uses until the room is needed, the oldest goes first', () => {
    const cost = new Definition(1, body('select 0'), plainEffects(0), { key: '', parseKey: 1 }).cost
    const registry = new Registry(cost * 2)
    const [one, two] = [acquire(registry, 'select 1'), acquire(registry, 'select 2')]
    registry.release(one)
    registry.release(two)
    assert.equal(acquire(registry, 'select 1'), one)
    registry.release(one)
    const three = acquire(registry, 'select 3')
    assert.equal(acquire(registry, 'select 1'), one, 'two was the oldest')
    assert.equal(registry.bytes, cost * 2)
    assert.equal(registry.acquire(body('select 4'), 1, noFacts), null, 'both are in use')
    registry.release(three)
    assert.ok(registry.acquire(body('select 4'), 1, noFacts) !== null)
  })

  it('never uses an id twice', () => {
    const registry = new Registry(2000)
    const ids = new Set<number>()
    for (let i = 0; i < 100; i++) {
      const definition = acquire(registry, `select ${i}`, i % 3)
      assert.ok(!ids.has(definition.id))
      ids.add(definition.id)
      registry.release(definition)
    }
  })

  it('counts bytes and references as a recount would', () => {
    const act = fc.record({ text: fc.nat(6), key: fc.nat(2), release: fc.boolean() })
    const run = (acts: { text: number; key: number; release: boolean }[]): void => {
      const registry = new Registry(2500)
      const held: Definition[] = []
      for (const { text, key, release } of acts) {
        if (release && held.length > 0) registry.release(held.splice(text % held.length, 1)[0]!)
        else {
          const definition = registry.acquire(body(`select ${text}`), key, noFacts)
          if (definition !== null) held.push(definition)
        }
        const used = [...new Set(held)]
        for (const definition of used) {
          assert.equal(definition.references, held.filter((one) => one === definition).length)
        }
        const cost = used.reduce((sum, one) => sum + one.cost, 0)
        assert.ok(registry.bytes >= cost && registry.bytes <= 2500)
        assert.ok(registry.size >= used.length)
      }
      for (const definition of held) registry.release(definition)
      assert.ok(registry.bytes <= 2500)
    }
    fc.assert(fc.property(fc.array(act, { maxLength: 100 }), run))
  })
})

describe('statements of a client', () => {
  const make = () => {
    const registry = new Registry(1e6)
    const statements = new ClientStatements(registry)
    const parse = (name: string, text: string, batch = 1) => {
      const definition = statements.define(body(text), 1, noFacts)
      assert.ok(definition !== null)
      return statements.sentParse(name, definition, batch)
    }
    return { registry, statements, parse }
  }

  it('a name stands for what was sent last, even before it is answered', () => {
    const { statements, parse } = make()
    const change = parse('a', 'select 1')
    assert.equal(statements.lookup('a'), change.to)
    assert.equal(statements.size, 0)
    statements.confirm(change)
    assert.equal(statements.size, 1)
    const close = statements.sentClose('a', 1)
    assert.equal(statements.lookup('a'), undefined)
    statements.withdraw(close)
    assert.equal(statements.lookup('a'), change.to)
  })

  it('is uncertain while the answer to an earlier batch is to come', () => {
    const { statements, parse } = make()
    const change = parse('a', 'select 1', 1)
    assert.equal(statements.isUncertain('a', 1), false)
    assert.equal(statements.isUncertain('a', 2), true)
    assert.equal(statements.isUncertain('b', 2), false)
    statements.confirm(change)
    assert.equal(statements.isUncertain('a', 2), false)
  })

  it('a failed Parse leaves the name as it was', () => {
    const { statements, parse, registry } = make()
    const first = parse('a', 'select 1')
    statements.confirm(first)
    const close = statements.sentClose('a', 1)
    const second = parse('a', 'select 2')
    statements.withdraw(close)
    statements.withdraw(second)
    assert.equal(statements.lookup('a'), first.to)
    assert.equal(second.to?.definition.references, 0)
    assert.equal(registry.size, 2)
  })

  it('DEALLOCATE ALL takes what was there and nothing that is under way', () => {
    const { statements, parse } = make()
    const before = parse('a', 'select 1')
    statements.confirm(before)
    const under = parse('b', 'select 2')
    statements.clear()
    assert.equal(statements.lookup('a'), undefined)
    assert.equal(statements.lookup('b'), under.to)
    statements.confirm(under)
    assert.equal(statements.size, 1)
    assert.equal(before.to?.definition.references, 0)
  })

  it('gives everything back when the client goes', () => {
    const { statements, parse } = make()
    const changes = ['a', 'b', 'c'].map((name) => parse(name, 'select 1'))
    statements.confirm(changes[0]!)
    statements.dispose()
    assert.equal(changes[0]?.to?.definition.references, 0)
  })

  it('forgets what was not answered when the server is lost', () => {
    const { statements, parse } = make()
    const kept = parse('a', 'select 1', 1)
    statements.confirm(kept)
    statements.sentClose('a', 2)
    const lost = parse('a', 'select 2', 2)
    statements.withdrawAll()
    assert.equal(statements.lookup('a'), kept.to)
    assert.equal(statements.isUncertain('a', 3), false)
    assert.equal(lost.to?.definition.references, 0)
  })

  it('may not use more than half of the budget', () => {
    const registry = new Registry(4000)
    const statements = new ClientStatements(registry)
    let count = 0
    for (; count < 100; count++) {
      const definition = statements.define(body(`select ${'x'.repeat(100)} ${count}`), 1, noFacts)
      if (definition === null) break
      statements.confirm(statements.sentParse(`s${count}`, definition, count))
    }
    assert.ok(count > 0 && count < 100)
    assert.ok(registry.bytes <= 4000)
    statements.clear()
    assert.ok(statements.define(body('select 1'), 1, noFacts) !== null)
  })

  it('means the same as a map that is changed in the order of the answers', () => {
    const act = fc.record({
      do: fc.constantFrom('parse', 'parse', 'close', 'answer', 'answer', 'fail', 'clear'),
      name: fc.constantFrom('a', 'b'),
      text: fc.nat(3),
    })
    const run = (acts: { do: string; name: string; text: number }[]): void => {
      const { registry, statements, parse } = make()
      const map = new Map<string, Definition>()
      const sent: PendingName[] = []
      for (const { do: what, name, text } of acts) {
        if (what === 'parse') sent.push(parse(name, `select ${text}`))
        else if (what === 'close') sent.push(statements.sentClose(name, 1))
        else if (what === 'clear') {
          statements.clear()
          map.clear()
        } else if (what === 'fail') for (const change of sent.splice(0)) statements.withdraw(change)
        else {
          const change = sent.shift()
          if (change === undefined) continue
          statements.confirm(change)
          if (change.to === null) map.delete(change.name)
          else map.set(change.name, change.to.definition)
        }
        for (const each of ['a', 'b']) {
          const last = sent.findLast((change) => change.name === each)
          const expected = last === undefined ? map.get(each) : last.to?.definition
          assert.equal(statements.lookup(each)?.definition, expected)
        }
      }
      statements.dispose()
      for (const text of [0, 1, 2, 3]) {
        assert.equal(registry.acquire(body(`select ${text}`), 1, noFacts)?.references, 1)
      }
    }
    fc.assert(fc.property(fc.array(act, { maxLength: 60 }), run), { numRuns: 300 })
  })
})

describe('statements of a server', () => {
  const define = (id: number) =>
    new Definition(id, body(`select ${id}`), plainEffects(0), { key: '', parseKey: 1 })

  it('give up the one that was used least recently', () => {
    const server = new ServerStatements()
    const [one, two, three] = [define(1), define(2), define(3)]
    for (const each of [one, two, three]) server.add(each)
    server.touch(one)
    assert.equal(server.surplus(3), null)
    assert.equal(server.surplus(2), two)
    server.delete(2)
    assert.equal(server.surplus(1), three)
    server.clear()
    assert.equal(server.size, 0)
    assert.equal(server.surplus(0), null)
  })

  it('are in the order of their use, whatever is done', () => {
    const act = fc.record({
      do: fc.constantFrom('add', 'touch', 'touch', 'delete'),
      id: fc.integer({ min: 1, max: 4 }),
    })
    const all = [0, 1, 2, 3, 4].map(define)
    fc.assert(
      fc.property(fc.array(act, { maxLength: 60 }), (acts) => {
        const server = new ServerStatements()
        let order: number[] = []
        for (const { do: what, id } of acts) {
          if (what === 'touch' && !server.has(id)) continue
          if (what === 'add') server.add(all[id]!)
          else if (what === 'touch') server.touch(all[id]!)
          else server.delete(id)
          order = order.filter((one) => one !== id)
          if (what !== 'delete') order.push(id)
          assert.equal(server.size, order.length)
          assert.equal(server.surplus(0)?.id, order[0])
        }
      }),
    )
  })
})
