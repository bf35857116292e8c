// The forms of a secret, the md5 method, SASLprep by Postgres' rule, and the bounds of the expensive work.
import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import fc from 'fast-check'
import { md5Answer, md5Stored, sameAnswer } from '../../../src/auth/md5.ts'
import { PasswordWork, PasswordWorkBusy } from '../../../src/auth/password-work.ts'
import { preparePassword } from '../../../src/auth/saslprep.ts'
import { parseSecret } from '../../../src/auth/secrets.ts'
import { verifier } from './support.ts'

describe('parseSecret', () => {
  const salt = Buffer.from('0123456789abcdef').toString('base64')
  const key = Buffer.alloc(32, 7).toString('base64')

  it('tells the forms apart', () => {
    assert.deepEqual(parseSecret('md54a63e8a8ff4bb0b3d8a0a7b8c9e9f1a2'), {
      kind: 'md5',
      hash: '4a63e8a8ff4bb0b3d8a0a7b8c9e9f1a2',
    })
    assert.deepEqual(parseSecret(`SCRAM-SHA-256$4096:${salt}$${key}:${key}`), {
      kind: 'scram',
      iterations: 4096,
      salt: Buffer.from(salt, 'base64'),
      storedKey: Buffer.alloc(32, 7),
      serverKey: Buffer.alloc(32, 7),
    })
    assert.equal(parseSecret(''), null)
  })

  it('takes what is not exactly a hash or a verifier as a plain password, like Postgres', () => {
    for (const text of [
      'hunter2',
      'md5',
      'md54A63E8A8FF4BB0B3D8A0A7B8C9E9F1A2',
      'md54a63e8a8ff4bb0b3d8a0a7b8c9e9f1a2\n',
      `SCRAM-SHA-256$0:${salt}$${key}:${key}`,
      `SCRAM-SHA-256$9999999999:${salt}$${key}:${key}`,
      `SCRAM-SHA-256$4096:${salt}$${key}`,
      `SCRAM-SHA-256$4096:!$${key}:${key}`,
      `SCRAM-SHA-256$4096:${salt}$${salt}:${key}`,
      `SCRAM-SHA-256$4096:${salt}$${key}:${key}\n`,
    ]) {
      assert.deepEqual(parseSecret(text), { kind: 'plain', password: text })
    }
  })

  it('takes any text', () => {
    fc.assert(
      fc.property(fc.string({ unit: 'binary', minLength: 1 }), (text) => {
        assert(parseSecret(text) !== null)
      }),
    )
  })
})

describe('md5', () => {
  it('makes what Postgres makes', () => {
    // md5(password, user), and the answer to the salt 01020304.
    assert.equal(md5Stored('joe', 'secret'), KNOWN_STORED)
    const salt = Buffer.from([1, 2, 3, 4])
    assert.equal(md5Answer('joe', { kind: 'plain', password: 'secret' }, salt), KNOWN_ANSWER)
    assert.equal(md5Answer('joe', { kind: 'md5', hash: KNOWN_STORED }, salt), KNOWN_ANSWER)
  })

  // E06: in a time that tells nothing.
  it('compares whole answers only', () => {
    assert.equal(sameAnswer(Buffer.from('md5abc'), 'md5abc'), true)
    assert.equal(sameAnswer(Buffer.from('md5abd'), 'md5abc'), false)
    assert.equal(sameAnswer(Buffer.from('md5ab'), 'md5abc'), false)
    assert.equal(sameAnswer(Buffer.from(''), 'md5abc'), false)
  })
})

// Computed with md5sum.
const KNOWN_STORED = 'c59ec932d911ffdf487595b5a2adf973'
const KNOWN_ANSWER = 'md5850be429f1fe77df3f603ac424abb440'

describe('SASLprep', () => {
  const prepared = (text: string) => preparePassword(text).toString('utf8')

  it('does what RFC 4013 shows', () => {
    assert.equal(prepared('I\u00adX'), 'IX')
    assert.equal(prepared('user'), 'user')
    assert.equal(prepared('USER'), 'USER')
    assert.equal(prepared('\u00aa'), 'a')
    assert.equal(prepared('\u2168'), 'IX')
    assert.equal(prepared('a\u00a0b'), 'a b')
  })

  it('leaves alone what it refuses, and all of ASCII', () => {
    for (const text of ['\u0007', '\u06271', 'x\u0221', '\u{1f600}', '\u00ad', '\ud800', 'a\u0627', '']) {
      assert.deepEqual(preparePassword(text), Buffer.from(text, 'utf8'))
    }
  })

  it('takes any text', () => {
    fc.assert(fc.property(fc.string({ unit: 'binary' }), (text) => void preparePassword(text)))
  })
})

describe('password work', () => {
  const salt = Buffer.from('salt')

  it('makes the keys of RFC 5802, remembers them and shares what is running', async () => {
    const work = new PasswordWork()
    const running = work.keys('pencil', salt, 4096)
    assert(running instanceof Promise)
    assert.equal(work.keys('pencil', salt, 4096), running)
    const keys = await running
    assert.deepEqual(keys.serverKey, verifier('pencil', salt).serverKey)
    assert.equal(work.keys('pencil', salt, 4096), keys)
    for (const [password, other, iterations] of [
      ['pencil2', salt, 4096],
      ['pencil', Buffer.from('salt2'), 4096],
      ['pencil', salt, 4097],
      ['2pencil', Buffer.from('salt'.slice(0, 3)), 4096],
    ] as const) {
      assert.notDeepEqual(await work.keys(password, other, iterations), keys)
    }
  })

  it('runs a few at a time, in order, and refuses beyond its queue', async () => {
    const work = new PasswordWork({ cached: 10, inFlight: 1, queued: 2 })
    const order: number[] = []
    const ask = async (n: number) => {
      await work.keys(`p${n}`, salt, 5000)
      order.push(n)
    }
    const three = [ask(1), ask(2), ask(3)]
    assert.throws(() => work.keys('p4', salt, 5000), PasswordWorkBusy)
    await Promise.all(three)
    assert.deepEqual(order, [1, 2, 3])
    await work.keys('p4', salt, 5000)
  })

  it('forgets what was used longest ago', async () => {
    const work = new PasswordWork({ cached: 2, inFlight: 2, queued: 2 })
    await work.keys('a', salt, 1)
    await work.keys('b', salt, 1)
    assert(!(work.keys('a', salt, 1) instanceof Promise))
    await work.keys('c', salt, 1)
    assert(!(work.keys('a', salt, 1) instanceof Promise))
    assert(work.keys('b', salt, 1) instanceof Promise)
  })
})
