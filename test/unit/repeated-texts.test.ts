// Which texts are taken to be sent again and again, and that none is run under a statement that was prepared
// as something else.
import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { RepeatedTexts } from '../../src/backend/repeated-texts.ts'
import { SettingsTable } from '../../src/session/settings.ts'
import { Registry } from '../../src/session/registry.ts'
import type { Definition } from '../../src/session/statements.ts'
import { Shape } from '../../src/sql/shapes.ts'

const shape = new Shape(Buffer.from('a shape'), 1)
const plain = new SettingsTable().of(new Map([['DateStyle', 'ISO, MDY']]))

class Case {
  readonly registry = new Registry(100_000)
  readonly texts = new RepeatedTexts(this.registry)

  /** It comes so often. @returns what the last was answered */
  send(count: number, text: string, settings = plain, version = 1): Definition | null {
    const bytes = Buffer.from(`before${text}\0\0\0behind`)
    let found = null
    this.texts.follow(version)
    for (let more = 0; more < count; more++)
      found = this.texts.find(shape, settings, bytes, { textStart: 6, bindStart: bytes.length - 6 })
    return found
  }
}

describe('texts that come again and again', () => {
  it('are prepared when they have come five times, as they were sent', () => {
    const one = new Case()
    assert.equal(one.send(5, 'select 1'), null)
    const definition = one.send(1, 'select 1')
    assert.equal(definition?.body.toString(), 'select 1\0\0\0')
    assert.equal(one.send(3, 'select 1'), definition)
    assert.equal(one.registry.size, 1)
  })

  it('are counted anew after another text, other settings, a change of the database', () => {
    const one = new Case()
    const first = one.send(6, 'select 1')
    assert.notEqual(first, null)
    assert.equal(one.send(1, 'select 2'), null)
    assert.equal(one.send(5, 'select 1'), null)
    assert.notEqual(one.send(1, 'select 1'), first)
    const german = plain.with('DateStyle', 'German')
    assert.equal(one.send(5, 'select 1', german), null)
    const second = one.send(1, 'select 1', german)
    assert.notEqual(second, null)
    assert.equal(one.send(5, 'select 1', german, 2), null)
    assert.notEqual(one.send(1, 'select 1', german, 2), second)
    assert.equal(one.registry.size, 1, 'what is out of use is gone')
  })

  it('are left alone for a while when they change all the time, or did worse', () => {
    const one = new Case()
    for (let number = 0; number < 60; number++) one.send(1, `select ${number}`)
    assert.equal(one.send(9000, 'select 1'), null)
    assert.notEqual(one.send(2000, 'select 1'), null)
    const two = new Case()
    two.send(6, 'select 1')
    two.texts.spoil(shape)
    assert.equal(two.send(9000, 'select 1'), null)
    assert.equal(two.registry.size, 0)
    assert.notEqual(two.send(2000, 'select 1'), null)
  })

  it('are few: the oldest make room', () => {
    const one = new Case()
    assert.notEqual(one.send(6, 'select 1'), null)
    const bytes = Buffer.from('select 2\0\0\0')
    for (let number = 0; number < 500; number++)
      one.texts.find(new Shape(Buffer.from(`${number}`), number), plain, bytes, {
        textStart: 0,
        bindStart: bytes.length,
      })
    assert.equal(one.registry.size, 0)
    assert.equal(one.send(1, 'select 1'), null)
  })
})
