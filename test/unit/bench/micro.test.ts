// The small benchmarks: that each item does what it says, and when one counts as slower. Nothing is timed.
import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import { describe, it } from 'node:test'
import { allItems, reference } from '../../../bench/micro/items.ts'
import { complaints, type Recorded } from '../../../bench/micro/judge.ts'
import { bindHead } from '../../../src/backend/names.ts'
import { Grammar } from '../../../src/sql/grammar.ts'
import { Framer } from '../../../src/wire/framer.ts'
import { CLIENT_RULES } from '../../../src/wire/protocol.ts'
import * as m from '../../support/messages.ts'

const wasm = readFileSync(new URL(import.meta.resolve('libpg-query/wasm/libpg-query.wasm')))
const items = allItems(await Grammar.open(wasm))
const file = new URL('../../../bench/micro/recorded.json', import.meta.url)
const recorded = JSON.parse(readFileSync(file, 'utf8')) as Recorded

describe('small benchmarks', () => {
  it('can be repeated, and do the same each time', () => {
    for (const item of [reference(), ...items]) {
      const first = item.run()
      assert.notEqual(first, 0, item.name)
      for (let i = 0; i < 100; i++) assert.equal(item.run(), first, item.name)
    }
  })

  it('are recorded, all of them and no others', () => {
    assert.deepEqual(Object.keys(recorded.ratios).toSorted(), items.map(({ name }) => name).toSorted())
  })

  it('fail where an item is slower than its tolerance, not recorded, or gone', () => {
    const known: Recorded = { node: '', tolerance: 0.5, ratios: { a: 1, b: 2, gone: 1 } }
    const ratios = new Map([
      ['a', 1.5],
      ['b', 3.01],
      ['new', 0.1],
    ])
    assert.deepEqual(
      complaints(ratios, known).map((line) => line.split(':')[0]),
      ['b', 'new', 'gone'],
    )
  })
})

describe('a Bind with another name', () => {
  it('is what it would be if the client had sent that name', () => {
    for (const portal of ['', 'a portal']) {
      const message = m.bind({ portal, statement: 'mine', params: ['1', null] })
      const framer = new Framer(CLIENT_RULES, 1 << 20, 1 << 14)
      framer.push(message)
      framer.next()
      const nameStart = message.indexOf(0, 5) + 1
      const nameStop = message.indexOf(0, nameStart)
      const head = bindHead(framer, nameStart, nameStop, 'a longer name')
      const whole = Buffer.concat([head, message.subarray(nameStop + 1)])
      assert.deepEqual(whole, m.bind({ portal, statement: 'a longer name', params: ['1', null] }))
    }
  })
})
