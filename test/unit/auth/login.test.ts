// Both sides of a login against each other: every method with every kind of secret, right and wrong.
import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import type { ClientAuthMethod } from '../../../src/auth/access.ts'
import { ClientAuth, ClientAuthContext } from '../../../src/auth/client-auth.ts'
import { md5Stored } from '../../../src/auth/md5.ts'
import { PasswordWork } from '../../../src/auth/password-work.ts'
import { parseSecret, type Secret } from '../../../src/auth/secrets.ts'
import { ServerAuth, type ServerCredential } from '../../../src/auth/server-auth.ts'
import { converse, LINE, LOCAL, REMOTE, seeded, verifier } from './support.ts'

const machinery = { random: seeded('backend'), work: new PasswordWork() }
const context = new ClientAuthContext(seeded('frontend'))

function frontend(method: ClientAuthMethod, secret: Secret | null, on = context): ClientAuth {
  return new ClientAuth(on, { user: 'alice', method, secret, ...LOCAL })
}

function backend(credential: ServerCredential | null, user = 'alice'): ServerAuth {
  return new ServerAuth({ user, credential, where: 'db:5432', line: LINE }, machinery)
}

const plain: Secret = { kind: 'plain', password: 'correct horse' }
const stored: Secret = { kind: 'md5', hash: md5Stored('alice', 'correct horse') }
const scram = verifier('correct horse')

describe('a login', () => {
  const cases: [ClientAuthMethod, Secret, RegExp][] = [
    ['md5', plain, /^R5:8 p:36 R0:4$/],
    ['md5', stored, /^R5:8 p:36 R0:4$/],
    ['md5', scram, /^R10:\d+ p:\d+ R11:\d+ p:\d+ R12:\d+ R0:4$/],
    ['scram-sha-256', plain, /^R10:\d+ p:\d+ R11:\d+ p:\d+ R12:\d+ R0:4$/],
    ['scram-sha-256', scram, /^R10:\d+ p:\d+ R11:\d+ p:\d+ R12:\d+ R0:4$/],
    ['password', plain, /^R3:4 p:14 R0:4$/],
    ['password', stored, /^R3:4 p:14 R0:4$/],
    ['password', scram, /^R3:4 p:14 R0:4$/],
    ['trust', plain, /^R0:4$/],
    ['cert', plain, /^R0:4$/],
  ]
  for (const [method, secret, shape] of cases) {
    it(`succeeds with ${method} and a ${secret.kind} secret`, async () => {
      const result = await converse(frontend(method, secret), backend(plain))
      assert.equal(result.frontend.kind, 'success')
      assert.equal(result.backend?.kind, 'ok')
      assert.match(result.shape.join(' '), shape)
    })
    if (method !== 'trust' && method !== 'cert') {
      it(`fails with ${method}, a ${secret.kind} secret and a wrong password`, async () => {
        const wrong = backend({ kind: 'plain', password: 'incorrect horse' })
        const result = await converse(frontend(method, secret), wrong)
        assert.deepEqual(result.frontend, {
          kind: 'failure',
          failure: {
            sqlstate: '28P01',
            message: 'password authentication failed for user "alice"',
            detail: '',
            hint: '',
          },
        })
      })
    }
  }

  it('fails as a wrong password where scram-sha-256 meets an md5 secret', async () => {
    const result = await converse(frontend('scram-sha-256', stored), backend(plain))
    assert.equal(result.frontend.kind === 'failure' && result.frontend.failure.sqlstate, '28P01')
  })

  it('hands on keys that log in to Postgres in place of the password', async () => {
    const first = await converse(frontend('scram-sha-256', scram), backend(plain))
    assert(first.frontend.kind === 'success' && first.frontend.keys !== null)
    const again = await converse(
      frontend('scram-sha-256', scram),
      backend({ kind: 'keys', ...first.frontend.keys }),
    )
    assert.equal(again.frontend.kind, 'success')
    assert.equal(again.backend?.kind, 'ok')
  })

  it('hands on such keys after a password in the clear as well, if a verifier checked it', async () => {
    const first = await converse(frontend('password', scram), backend(plain))
    assert(first.frontend.kind === 'success' && first.frontend.keys !== null)
    const again = await converse(
      frontend('scram-sha-256', scram),
      backend({ kind: 'keys', ...first.frontend.keys }),
    )
    assert.equal(again.frontend.kind, 'success')
    for (const secret of [plain, stored]) {
      const { frontend: result } = await converse(frontend('password', secret), backend(plain))
      assert.equal(result.kind === 'success' && result.keys, null)
    }
  })

  it('hands on no keys that fit no verifier of Postgres', async () => {
    const result = await converse(frontend('scram-sha-256', plain), backend(plain))
    assert.equal(result.frontend.kind === 'success' && result.frontend.keys, null)
  })

  it('works with an md5 secret on our side of Postgres', async () => {
    const result = await converse(frontend('md5', plain), backend(stored))
    assert.equal(result.backend?.kind, 'ok')
  })

  it('never succeeds with an empty password', async () => {
    assert.equal(parseSecret(''), null)
    const empty: Secret = { kind: 'plain', password: '' }
    for (const method of ['md5', 'scram-sha-256', 'password'] as const) {
      const result = await converse(frontend(method, empty), backend(empty))
      assert.equal(result.frontend.kind === 'failure' && result.frontend.failure.sqlstate, '28P01')
    }
  })

  it('refuses trust from another machine', () => {
    const auth = new ClientAuth(context, { user: 'alice', method: 'trust', secret: plain, ...REMOTE })
    const outcome = auth.begin()
    assert.equal(outcome.kind === 'failure' && outcome.failure.sqlstate, '28000')
  })
})

describe('an unknown user', () => {
  const secrets: [string, ClientAuthMethod, Secret][] = [
    ['plain', 'scram-sha-256', plain],
    ['scram', 'scram-sha-256', scram],
    ['md5', 'scram-sha-256', stored],
    ['plain', 'md5', plain],
    ['md5', 'md5', stored],
    ['scram', 'md5', scram],
    ['plain', 'password', plain],
    ['scram', 'password', scram],
    ['md5', 'password', stored],
  ]
  for (const [kind, method, secret] of secrets) {
    it(`looks like a wrong password for a ${kind} secret under ${method}`, async () => {
      const wrong: ServerCredential = { kind: 'plain', password: 'guess' }
      const own = new ClientAuthContext(seeded('frontend'))
      const known = await converse(frontend(method, secret, own), backend(wrong))
      const unknown = await converse(frontend(method, null, own), backend(wrong))
      assert.deepEqual(unknown.frontend, known.frontend)
      assert.deepEqual(unknown.shape, known.shape)
    })
  }

  it('is shown the same salt each time, and another salt than the next user', async () => {
    assert.deepEqual(context.saltOf('nobody'), context.saltOf('nobody'))
    assert.notDeepEqual(context.saltOf('nobody'), context.saltOf('nobody2'))
    assert.equal(context.saltOf('nobody').length, 16)
    assert.notDeepEqual(new ClientAuthContext(seeded('other')).saltOf('nobody'), context.saltOf('nobody'))
  })
})

// E05, where users have secrets of several kinds: method md5 asks those with a verifier for SCRAM.
describe('an unknown user under md5', () => {
  const kindOf = (on: ClientAuthContext, user: string) => {
    const outcome = new ClientAuth(on, { user, method: 'md5', secret: null, ...LOCAL }).begin()
    return outcome.kind === 'send' ? outcome.messages.readUInt32BE(5) : outcome.kind
  }
  const users = Array.from({ length: 50 }, (_, n) => `nobody ${n}`)

  it('is asked as all those are that there are', async () => {
    for (const [known, method] of [
      [plain, 5],
      [stored, 5],
      [scram, 10],
    ] as const) {
      const own = new ClientAuthContext(seeded('kinds'))
      await own.warm('alice', known)
      assert.deepEqual([...new Set(users.map((user) => kindOf(own, user)))], [method], known.kind)
    }
  })

  it('is asked as some are where they differ, and the same way each time', () => {
    const own = new ClientAuthContext(seeded('kinds'))
    own.notice(stored)
    own.notice(scram)
    const kinds = users.map((user) => kindOf(own, user))
    assert.deepEqual([...new Set(kinds)].sort(), [10, 5])
    assert.deepEqual(
      users.map((user) => kindOf(own, user)),
      kinds,
    )
  })
})
