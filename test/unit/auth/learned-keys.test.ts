// What clients' logins leave with us: whose it is, when it is dropped, how much of it there may be.
import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { LearnedKeys } from '../../../src/auth/learned-keys.ts'
import type { ServerCredential } from '../../../src/auth/server-auth.ts'
import { verifier } from './support.ts'

const before = verifier('before')
const after = verifier('after')
const keys = (byte: number): ServerCredential => ({
  kind: 'keys',
  clientKey: Buffer.alloc(32, byte),
  serverKey: Buffer.alloc(32, byte),
})

describe('LearnedKeys', () => {
  it('gives what was learned, to its user only', () => {
    const learned = new LearnedKeys()
    const own = keys(1)
    learned.learn('a', before, own)
    assert.equal(learned.credential('a'), own)
    assert.equal(learned.credential('b'), null)
  })

  it('drops what came of another verifier, or of a user that is no more', () => {
    const learned = new LearnedKeys()
    learned.learn('a', before, keys(1))
    learned.follow('a', verifier('before'))
    assert.notEqual(learned.credential('a'), null, 'the same verifier, read anew')
    learned.follow('a', verifier('before', Buffer.from('another salt 123')))
    assert.equal(learned.credential('a'), null, 'the same password has other keys')
    learned.learn('a', before, keys(1))
    learned.follow('a', null)
    assert.equal(learned.credential('a'), null)
  })

  it('forgets what Postgres has refused, and knows whether something newer is worth a try', () => {
    const learned = new LearnedKeys()
    const [old, fresh] = [keys(1), keys(2)]
    learned.learn('a', before, old)
    assert.equal(learned.refused('a', old), false)
    assert.equal(learned.credential('a'), null)
    learned.learn('a', after, fresh)
    assert.equal(learned.refused('a', old), true)
    assert.equal(learned.credential('a'), fresh)
    assert.equal(learned.refused('b', old), false)
  })

  it('keeps so many, and those that are used', () => {
    const learned = new LearnedKeys(2)
    learned.learn('a', before, keys(1))
    learned.learn('b', before, keys(2))
    learned.credential('a')
    learned.learn('c', before, keys(3))
    assert.equal(learned.size, 2)
    assert.equal(learned.credential('b'), null)
    assert.notEqual(learned.credential('a'), null)
  })
})
