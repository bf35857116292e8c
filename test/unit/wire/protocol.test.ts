// The tables of message types against the types that Postgres documents.

import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import {
  CLIENT_RULES,
  type FrameRules,
  FromClient,
  FromServer,
  LOGIN_RULES,
  SERVER_RULES,
  Take,
} from '../../../src/wire/protocol.ts'

const letters = (rules: FrameRules) =>
  [...rules.take.keys()]
    .filter((type) => rules.take[type] !== Take.Refuse)
    .map((type) => String.fromCharCode(type))
    .join('')

describe('message types', () => {
  it('of a client are those of the documentation', () => {
    assert.equal(letters(CLIENT_RULES), 'BCDEFHPQSXcdf')
    assert.equal(letters(LOGIN_RULES), 'p')
    assert.equal(Object.keys(FromClient).length, 14)
  })

  it('of a server are those of the documentation', () => {
    assert.equal(letters(SERVER_RULES), '123ACDEGHIKNRSTVWZcdnstv')
    assert.equal(Object.keys(FromServer).length, 24)
  })

  it('may all be at least as long as their length field', () => {
    for (const rules of [CLIENT_RULES, LOGIN_RULES, SERVER_RULES]) {
      for (let type = 0; type < 256; type++) {
        if (rules.take[type] === Take.Refuse) assert.equal(rules.lengthMax[type], 0)
        else assert.ok(rules.lengthMax[type]! >= 4)
      }
    }
  })

  it('keep the limits of Postgres for what a client sends', () => {
    const max = (letter: string) => CLIENT_RULES.lengthMax[letter.charCodeAt(0)]
    for (const letter of 'HSc') assert.equal(max(letter), 4, letter)
    for (const letter of 'CDEXf') assert.equal(max(letter), 10_000, letter)
    for (const letter of 'BFPQd') assert.equal(max(letter), 2 ** 30 - 2, letter)
  })
})
