// The parts of the dashboard by themselves: when logins end, who is dropped for not reading, and what is said
// while passwords cannot be checked.
import assert from 'node:assert/strict'
import { EventEmitter } from 'node:events'
import { suite, test } from 'node:test'
import { checkCredentials, type CheckingHouse } from '../../../src/admin/dashboard/check.ts'
import { Sessions, SESSIONS_MAX } from '../../../src/admin/dashboard/sessions.ts'
import { Viewers } from '../../../src/admin/dashboard/viewers.ts'
import { ClientAuthContext } from '../../../src/auth/client-auth.ts'
import { PasswordWork } from '../../../src/auth/password-work.ts'
import type { HttpResponse } from '../../../src/net/http.ts'
import { systemRandom } from '../../../src/net/random.ts'

const HOUR = 3_600_000

suite('a login', () => {
  const time = { at: 0, now: () => time.at }
  const opened = (user = 'u') => {
    const sessions = new Sessions(time, systemRandom)
    const cookie = sessions.open({ user, secret: null }).split(';')[0] ?? ''
    return { sessions, cookie }
  }

  test('ends after an hour without use, and after twelve in any case', () => {
    time.at = 0
    const { sessions, cookie } = opened()
    for (let hours = 0.9; hours < 12; hours += 0.9) {
      time.at = hours * HOUR
      assert.equal(sessions.find(cookie)?.user, 'u', `${hours} hours`)
    }
    time.at = 12 * HOUR
    assert.equal(sessions.find(cookie), null)
    const other = opened()
    time.at += HOUR
    assert.equal(other.sessions.find(other.cookie), null)
    time.at -= HOUR
    assert.equal(other.sessions.find(other.cookie), null, 'for good')
  })

  test('is found among other cookies, and by nothing but its own', () => {
    const { sessions, cookie } = opened()
    assert.equal(sessions.find(`theme=dark; ${cookie}; x`)?.user, 'u')
    assert.equal(sessions.find(`pgmux_session=forged; ${cookie}`)?.user, 'u')
    for (const wrong of ['', 'pgmux_session', 'pgmux_session=', cookie.slice(0, -1), `x${cookie}`, undefined])
      assert.equal(sessions.find(wrong), null, wrong)
    assert.match(sessions.end(cookie), /^pgmux_session=; .*Max-Age=0$/)
    assert.equal(sessions.find(cookie), null)
  })

  test('makes room for others when there are too many', () => {
    const { sessions, cookie } = opened()
    const second = sessions.open({ user: 'second', secret: null })
    assert.ok(sessions.find(cookie))
    for (let i = 1; i < SESSIONS_MAX; i++) sessions.open({ user: 'x', secret: null })
    assert.equal(sessions.find(second), null, 'not used for longest')
    assert.ok(sessions.find(cookie))
  })
})

/** A stream that takes nothing. */
class Deaf extends EventEmitter {
  writableLength = 0
  text = ''
  isDestroyed = false

  write(bytes: Buffer | string): boolean {
    this.text += String(bytes)
    this.writableLength += bytes.length
    return false
  }

  end(bytes: string): void {
    this.write(bytes)
  }

  destroy(): void {
    this.isDestroyed = true
    this.emit('close')
  }
}

suite('who looks', () => {
  const joined = (viewers: Viewers, mayStay = () => true) => {
    const deaf = new Deaf()
    viewers.add(deaf as unknown as HttpResponse, mayStay)
    return deaf
  }

  test('and does not read is dropped when 1 MiB waits for it, others are not', () => {
    const viewers = new Viewers()
    const [deaf, other] = [joined(viewers), joined(viewers)]
    const json = JSON.stringify('x'.repeat(100_000))
    for (let i = 0; i < 10; i++) {
      viewers.tell('now', json)
      other.writableLength = 0
    }
    assert.deepEqual([deaf.isDestroyed, viewers.size], [false, 2])
    viewers.tell('now', json)
    assert.deepEqual([deaf.isDestroyed, other.isDestroyed, viewers.size], [true, false, 1])
    assert.ok(deaf.writableLength <= 1024 * 1024)
  })

  test('goes with a word when it may no longer', () => {
    const viewers = new Viewers()
    let may = true
    const [one, other] = [joined(viewers, () => may), joined(viewers)]
    viewers.sift()
    assert.equal(viewers.size, 2)
    may = false
    viewers.sift()
    assert.equal(viewers.size, 1)
    assert.match(one.text, /\nevent: bye\ndata: \{"reason":"the login is over"\}\n\n$/)
    viewers.tell('now', '{}')
    assert.doesNotMatch(one.text, /event: now/)
    assert.match(other.text, /event: now\ndata: \{\}\n\n$/)
  })
})

suite('a password', () => {
  const house = (work: PasswordWork, refused: string[] = []): CheckingHouse => ({
    auth: new ClientAuthContext(systemRandom, work),
    secrets: {
      lookup: (user) => ({ secret: user === 'boss' ? { kind: 'plain', password: 'right' } : null }),
      learn: () => true,
      doubt: () => {},
    },
    judge: () => assert.fail('there are no rules'),
    onRefused: (_visitor, { reason }) => refused.push(reason),
    time: { now: 0 },
  })
  const boss = { user: 'boss', password: 'right', address: '10.0.0.1' }

  test('cannot be checked while too many others are', async () => {
    const refused: string[] = []
    const work = new PasswordWork({ cached: 10, inFlight: 1, queued: 0 })
    const busy = house(work, refused)
    const first = checkCredentials(busy, { ...boss, user: 'stranger', password: 'a' }, false)
    const failure = await checkCredentials(busy, boss, false)
    assert.equal(failure?.sqlstate, '53300')
    assert.equal((await first)?.sqlstate, '28P01')
    assert.deepEqual(refused, ['auth_failed', 'auth_failed'])
    assert.equal(await checkCredentials(busy, boss, false), null, 'later it can')
  })

  test('costs one derivation, whoever it is for', async () => {
    for (const user of ['boss', 'stranger']) {
      const work = new PasswordWork()
      const asked: string[] = []
      const { keys } = work
      work.keys = (password, ...rest) => {
        asked.push(password)
        return keys.call(work, password, ...rest)
      }
      const asking = house(work)
      await asking.auth.warm('boss', { kind: 'plain', password: 'right' })
      asked.length = 0
      await checkCredentials(asking, { ...boss, user, password: 'wrong' }, false)
      assert.deepEqual(
        asked.filter((password) => password === 'wrong'),
        ['wrong'],
      )
    }
  })
})
