// Which secret counts, and what of a login is kept when the configuration changes.
import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import type { ServerCredential } from '../../src/auth/server-auth.ts'
import type { Secret } from '../../src/auth/secrets.ts'
import type { Route } from '../../src/backend/route.ts'
import type { UserConfig } from '../../src/config/types.ts'
import { SecretKeeper, type SecretSources } from '../../src/routing/secret-keeper.ts'

const key = (byte: number) => Buffer.alloc(32, byte).toString('base64')
const verifier = (byte: number) => `SCRAM-SHA-256$4096:${key(9)}$${key(byte)}:${key(byte)}`
const keys = { clientKey: Buffer.alloc(32, 1), serverKey: Buffer.alloc(32, 2) }
const ann = { user: 'ann', database: 'app' }

function sources(users: Record<string, UserConfig>): SecretSources {
  return { users: new Map(Object.entries(users)), authQuery: null }
}

function secretOf(keeper: SecretKeeper, user: string): Secret | null {
  const answer = keeper.lookup(user, 'app')
  assert.ok(!(answer instanceof Promise) && 'secret' in answer)
  return answer.secret
}

/** What a pool of this user would log in with. */
function credentialOf(keeper: SecretKeeper, user: string, own: ServerCredential | null = null) {
  const route = { user, credential: () => own, onCredentialRefused: () => false } as unknown as Route
  return keeper.passThrough(route, { user, database: 'app' }).credential()
}

function withLogin(users: Record<string, UserConfig>): SecretKeeper {
  const keeper = new SecretKeeper(sources(users))
  const secret = secretOf(keeper, 'ann')
  assert.ok(secret !== null)
  keeper.learn(ann, secret, keys)
  return keeper
}

describe('SecretKeeper', () => {
  it('uses the keys of a login where nothing else can log in', () => {
    const keeper = withLogin({ ann: { secret: verifier(1) } })
    assert.deepEqual(credentialOf(keeper, 'ann'), { kind: 'keys', ...keys })
    assert.deepEqual(credentialOf(keeper, 'ann', secretOf(keeper, 'ann')), { kind: 'keys', ...keys })
    const plain: ServerCredential = { kind: 'plain', password: 'configured' }
    assert.equal(credentialOf(keeper, 'ann', plain), plain)
    assert.equal(credentialOf(keeper, 'bob'), null)
  })

  it('gives a forced user nothing', () => {
    const keeper = withLogin({ ann: { secret: verifier(1) } })
    const route = { user: 'boss', credential: () => null } as unknown as Route
    assert.equal(keeper.passThrough(route, ann), route)
  })

  it('keeps what it has learned of users whose secret does not change, and of nobody else', () => {
    const keeper = withLogin({ ann: { secret: verifier(1) } })
    keeper.reconfigure(sources({ ann: { secret: verifier(1), poolSize: 3 }, bob: { secret: 'x' } }))
    assert.deepEqual(credentialOf(keeper, 'ann'), { kind: 'keys', ...keys })
    assert.equal(secretOf(keeper, 'bob')?.kind, 'plain')
    keeper.reconfigure(sources({ ann: { secret: verifier(2) } }))
    assert.equal(credentialOf(keeper, 'ann'), null)
    assert.equal(secretOf(keeper, 'bob'), null)
  })

  it('forgets a user who is taken out, for good', () => {
    const keeper = withLogin({ ann: { secret: verifier(1) } })
    keeper.reconfigure(sources({}))
    keeper.reconfigure(sources({ ann: { secret: verifier(1) } }))
    assert.equal(credentialOf(keeper, 'ann'), null)
  })

  it('does not learn from a login that was checked with what counts no more', () => {
    const keeper = new SecretKeeper(sources({ ann: { secret: verifier(1) } }))
    const before = secretOf(keeper, 'ann') as Secret
    keeper.reconfigure(sources({ ann: { secret: verifier(2) } }))
    keeper.learn(ann, before, keys)
    assert.equal(credentialOf(keeper, 'ann'), null)
  })
})
