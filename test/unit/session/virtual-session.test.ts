// What a client believes of its session: the unnamed statement and its pin.

import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { SettingsTable } from '../../../src/session/settings.ts'
import { Registry } from '../../../src/session/registry.ts'
import { VirtualSession } from '../../../src/session/virtual-session.ts'

const make = () => new VirtualSession(new SettingsTable().of(new Map()), new Registry(1000))

describe('virtual session', () => {
  it('keeps a copy of the text of the unnamed statement', () => {
    const session = make()
    const unnamed = session.takeUnnamed()
    const source = Buffer.from('Pxselect 1\0\0\0')
    unnamed.set(source, 2, source.length)
    source.fill(0)
    session.setUnnamed(unnamed)
    assert.equal(session.unnamed?.body.toString('latin1', 0, unnamed.length), 'select 1\0\0\0')
  })

  it('never changes the present one while the next is under way', () => {
    const session = make()
    const first = session.takeUnnamed()
    first.set(Buffer.from('one'), 0, 3)
    session.setUnnamed(first)
    const second = session.takeUnnamed()
    second.set(Buffer.from('two'), 0, 3)
    assert.notEqual(first, second)
    assert.equal(session.unnamed?.body.toString('latin1', 0, 3), 'one')
    session.setUnnamed(second)
    assert.equal(session.unnamed?.body.toString('latin1', 0, 3), 'two')
    assert.equal(session.takeUnnamed(), first)
  })

  it('a statement too long to keep pins, until another takes its place', () => {
    const session = make()
    const large = session.takeUnnamed()
    large.setLarge()
    session.setUnnamed(large)
    assert.equal(session.isPinned, true)
    const small = session.takeUnnamed()
    small.set(Buffer.from('x'), 0, 1)
    session.setUnnamed(small)
    assert.equal(session.isPinned, false)
    session.setUnnamed(null)
    assert.equal(session.unnamed, null)
  })

  it('an object that was used for a long text is long enough for the next, and says its own length', () => {
    const session = make()
    const unnamed = session.takeUnnamed()
    unnamed.set(Buffer.alloc(500, 0x61), 0, 500)
    unnamed.set(Buffer.from('short'), 0, 5)
    assert.equal(unnamed.length, 5)
    assert.equal(unnamed.body.toString('latin1', 0, unnamed.length), 'short')
  })
})
