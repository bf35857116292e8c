// What looks for secrets finds them, wherever they stand and however they are written.
import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { assertNoneOut, isName, isSecret, lookThrough } from '../../support/known-secrets.ts'

const SECRET = 'q8%w/Zk3-very secret'
const KEY = Buffer.from('f00dfeedcafe0123456789abcdef', 'hex')

describe('secrets of the tests', () => {
  const places: [name: string, output: unknown][] = [
    ['in a text', `password is ${SECRET}.`],
    ['in a URL', { at: `postgres://me:${encodeURIComponent(SECRET)}@db` }],
    ['in a nested field', { upstream: { parts: [{ password: SECRET }] } }],
    ['in an error', { error: new Error(`no: ${SECRET}`) }],
    ['in the cause of an error', { error: new Error('no', { cause: new Error(SECRET) }) }],
    ['in a field of an error', { error: Object.assign(new Error('no'), { config: { secret: SECRET } }) }],
    ['in a map', { users: new Map([['me', { secret: SECRET }]]) }],
    ['as the name of a field', { [SECRET]: true }],
    ['in bytes', { bytes: Buffer.from(`...${SECRET}...`) }],
    ['as hex', `key ${KEY.toString('hex')}`],
    ['as base64', `key ${KEY.toString('base64')}`],
    ['as bytes', { key: KEY }],
  ]
  for (const [name, output] of places) {
    it(`are found ${name}`, () => {
      isSecret('the password', SECRET)
      isSecret('the key', KEY)
      lookThrough('the log', output)
      assert.throws(assertNoneOut, (error: Error) => {
        assert.match(error.message, /the (password|key) in the log/)
        assert.doesNotMatch(error.message, /very secret|f00dfeed/)
        return true
      })
      assertNoneOut()
    })
  }

  it('are not seen in other texts, in short words, and in names', () => {
    isSecret('the password', SECRET)
    isSecret('a short one', 'guess')
    isSecret('a name', 'postgres_user')
    isName('postgres_user')
    lookThrough('the log', { user: 'postgres_user', message: 'guess', secret: SECRET.slice(1) })
    assertNoneOut()
  })
})
