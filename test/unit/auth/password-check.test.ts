// A password in the clear against each kind of secret; that its check costs the same whoever is asked for,
// and none of it on the event loop.
import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { md5Stored } from '../../../src/auth/md5.ts'
import { checkPassword, type PasswordQuestion } from '../../../src/auth/password-check.ts'
import { PasswordWork, PasswordWorkBusy } from '../../../src/auth/password-work.ts'
import type { Secret } from '../../../src/auth/secrets.ts'
import { verifier } from './support.ts'

const SALT = Buffer.from('salt of the user')
const plain = (password: string): Secret => ({ kind: 'plain', password })
const md5 = (password: string): Secret => ({ kind: 'md5', hash: md5Stored('alice', password) })
const question = (secret: Secret | null, iterations = 100): PasswordQuestion => ({
  user: 'alice',
  secret,
  salt: SALT,
  iterations,
})

/** Tells what was asked of it. */
class Counted extends PasswordWork {
  readonly asked: string[] = []

  override keys(...[password, salt, iterations, keep]: Parameters<PasswordWork['keys']>) {
    this.asked.push(`${password} ${iterations}`)
    return super.keys(password, salt, iterations, keep)
  }
}

async function isRight(secret: Secret | null, given: string | Buffer, work = new PasswordWork()) {
  return (await checkPassword(work, question(secret), Buffer.from(given))).isRight
}

describe('a password in the clear', () => {
  it('is checked against each kind of secret', async () => {
    for (const secret of [plain('pencil'), md5('pencil'), verifier('pencil', undefined, 10)]) {
      assert.equal(await isRight(secret, 'pencil'), true, secret.kind)
      for (const wrong of ['Pencil', 'pencil ', 'penci', '', 'pencil\u00e9']) {
        assert.equal(await isRight(secret, wrong), false, `${secret.kind} ${wrong}`)
      }
    }
    assert.equal(await isRight(null, 'pencil'), false)
    assert.equal(await isRight(plain(''), ''), false)
  })

  it('is the same in each spelling that SASLprep makes one of', async () => {
    for (const secret of [plain('I\u00adX'), verifier('I\u00adX', undefined, 10)]) {
      assert.equal(await isRight(secret, '\u2168'), true)
      assert.equal(await isRight(secret, 'IX'), true)
    }
    assert.equal(await isRight(md5('I\u00adX'), 'IX'), false, 'md5 takes bytes as they are')
  })

  it('does not fit by being no text', async () => {
    const unreadable = Buffer.from([0xff, 0xfe])
    for (const make of [plain, md5, (text: string) => verifier(text, undefined, 10)]) {
      assert.equal(await isRight(make('\ufffd\ufffd'), unreadable), false)
      assert.equal(await isRight(make('\ufffd\ufffd'), '\ufffd\ufffd'), true)
    }
  })

  it('is not worth a verifier that would take minutes', async () => {
    const secret: Secret = { ...verifier('pencil', undefined, 10), iterations: 2 ** 31 - 1 }
    const work = new Counted()
    assert.equal(await isRight(secret, 'pencil', work), false)
    assert.deepEqual(work.asked, ['pencil 100'])
  })

  it('is told to try again where too many wait', async () => {
    const busy = new PasswordWork({ cached: 1, inFlight: 0, queued: 0 })
    await assert.rejects(checkPassword(busy, question(null), Buffer.from('x')), PasswordWorkBusy)
  })
})

// E05: what is known of the user does not show in the work.
describe('a wrong password', () => {
  it('costs one derivation, for each kind of secret and for nobody', async () => {
    for (const secret of [plain('pencil'), md5('pencil'), verifier('pencil', SALT, 100), null]) {
      const work = new Counted()
      // Known secrets are hashed ahead of the first login.
      if (secret?.kind === 'plain') await work.keys('pencil', SALT, 100)
      work.asked.length = 0
      await isRight(secret, 'guess', work)
      assert.deepEqual(
        work.asked.filter((one) => one !== 'pencil 100'),
        ['guess 100'],
        secret?.kind,
      )
    }
  })

  it('drives nothing out of what is remembered', async () => {
    const work = new PasswordWork({ cached: 2, inFlight: 2, queued: 100 })
    await work.keys('pencil', SALT, 100)
    const guesses = Array.from({ length: 50 }, (_, n) => isRight(plain('pencil'), `guess ${n}`, work))
    assert.ok((await Promise.all(guesses)).every((right) => !right))
    assert.ok(!(work.keys('pencil', SALT, 100) instanceof Promise))
    assert.ok(work.keys('guess 1', SALT, 100) instanceof Promise)
  })

  // E07: the thread that serves everybody does none of it. Load does not change its own time.
  it('costs the event loop next to nothing', async () => {
    const work = new PasswordWork()
    const costly = 40_960
    await work.keys('pencil', SALT, costly)
    const before = process.threadCpuUsage()
    const guesses = Array.from({ length: 40 }, (_, n) =>
      checkPassword(work, question(n % 2 ? plain('pencil') : null, costly), Buffer.from(`guess ${n}`)),
    )
    await Promise.all(guesses)
    const { user, system } = process.threadCpuUsage(before)
    const spent = (user + system) / 1000
    assert.ok(spent < 100, `${spent} ms for 40 passwords; each takes a thread about 15 ms`)
  })
})
