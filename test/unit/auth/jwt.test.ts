// Tokens: which are believed, and as whom. Each case is signed with a real key.
import assert from 'node:assert/strict'
import { createHmac } from 'node:crypto'
import { before, describe, it } from 'node:test'
import { type Believed, believe, claimsOf, looksLikeToken, type TokenRules } from '../../../src/auth/jwt.ts'
import { keySetOf } from '../../../src/serverless/jwks.ts'
import { AUDIENCE, ISSUER, Issuer, type TokenWishes } from '../../support/tokens.ts'

const RULES: TokenRules = {
  algorithms: ['RS256', 'ES256'],
  issuer: ISSUER,
  audience: AUDIENCE,
  roleClaim: 'role',
  roles: ['web_user', 'web_admin'],
  loginUser: '',
  leewayMs: 30_000,
}
const now = (): number => Math.floor(Date.now() / 1000)
const b64 = (value: object | string): string =>
  Buffer.from(typeof value === 'string' ? value : JSON.stringify(value)).toString('base64url')

let issuer: Issuer

before(async () => {
  issuer = await Issuer.create()
})

async function verdict(token: string, keys?: string, rules = RULES): Promise<string> {
  const found = await believe(token, {
    rules,
    keys: keySetOf(keys ?? (await issuer.keys())),
    now: new Date(),
  })
  return 'sqlstate' in found ? `${found.sqlstate} ${found.message}` : 'believed'
}

const ask = async (wishes: TokenWishes): Promise<string> => verdict(await issuer.token(wishes))

describe('a token', () => {
  it('is believed when everything is right, with each kind of key that is allowed', async () => {
    assert.equal(await ask({}), 'believed')
    assert.equal(await ask({ claims: { aud: ['other', AUDIENCE] } }), 'believed')
    for (const alg of ['RS256', 'PS256', 'ES384', 'EdDSA']) {
      const other = await Issuer.create(alg)
      const [token, keys] = [await other.token(), await other.keys()]
      const isListed = RULES.algorithms.includes(alg)
      assert.equal((await verdict(token, keys)) === 'believed', isListed, alg)
      assert.equal(await verdict(token, keys, { ...RULES, algorithms: [alg] }), 'believed', alg)
    }
  })

  it('has an end, and may have a beginning; clocks may differ by the leeway', async () => {
    assert.match(await ask({ claims: { exp: now() - 31 } }), /28000 .*it has expired/)
    assert.equal(await ask({ claims: { exp: now() - 20 } }), 'believed')
    assert.match(await ask({ claims: { exp: undefined as never } }), /claim "exp"/)
    assert.match(await ask({ claims: { exp: String(now() + 60) as never } }), /28000/)
    assert.match(await ask({ claims: { nbf: now() + 60 } }), /not valid yet/)
    assert.equal(await ask({ claims: { nbf: now() + 20 } }), 'believed')
  })

  it('is of this issuer, for this audience', async () => {
    assert.match(await ask({ claims: { iss: 'https://other.example' } }), /claim "iss"/)
    assert.match(await ask({ claims: { iss: `${ISSUER}/` } }), /claim "iss"/)
    assert.match(await ask({ claims: { iss: undefined as never } }), /claim "iss"/)
    assert.match(await ask({ claims: { aud: 'other' } }), /claim "aud"/)
    assert.match(await ask({ claims: { aud: undefined as never } }), /claim "aud"/)
  })

  it('is signed with a key that is known, by its name', async () => {
    const keys = await issuer.keys()
    const stranger = await Issuer.create('ES256', issuer.kid)
    assert.match(await verdict(await stranger.token(), keys), /its signature is wrong/)
    assert.match(await ask({ header: { kid: 'other' } }), /a key that is not known/)
    assert.match(await ask({ header: { kid: undefined } }), /a key that is not known/)
    assert.match(await ask({ header: { kid: 7 } }), /28000/)
    const [head = '', , signature = ''] = (await issuer.token()).split('.')
    const payload = b64({ iss: ISSUER, aud: AUDIENCE, exp: now() + 60, role: 'web_admin' })
    const forged = `${head}.${payload}.${signature}`
    assert.match(await verdict(forged), /its signature is wrong/)
    for (const jwk of [
      { ...(await issuer.publicJwk()), use: 'enc' },
      { ...(await issuer.publicJwk()), alg: 'ES384' },
      { ...(await issuer.publicJwk()), key_ops: ['encrypt'] },
    ]) {
      const spare = { ...(await stranger.publicJwk()), kid: 'spare' }
      assert.match(await verdict(await issuer.token(), JSON.stringify({ keys: [jwk, spare] })), /28000/)
    }
  })

  it('cannot choose a weaker signature', async () => {
    const payload = b64({ iss: ISSUER, aud: AUDIENCE, exp: now() + 60, role: 'web_admin' })
    for (const alg of ['none', 'None', 'NONE', '']) {
      const unsigned = `${b64({ alg, kid: issuer.kid })}.${payload}.`
      assert.match(await verdict(unsigned), /28000/, alg)
    }
    // The public key as the secret of a hash: whoever knows it could sign.
    const rsa = await Issuer.create('RS256')
    const publicKey = JSON.stringify(await rsa.publicJwk())
    const head = b64({ alg: 'HS256', kid: rsa.kid })
    const mac = createHmac('sha256', publicKey).update(`${head}.${payload}`).digest('base64url')
    assert.match(
      await verdict(`${head}.${payload}.${mac}`, await rsa.keys()),
      /kind of signature is not taken/,
    )
    const oct = { kty: 'oct', kid: rsa.kid, k: b64(publicKey) }
    const keys = JSON.stringify({ keys: [oct, { ...(await rsa.publicJwk()), kid: 'other' }] })
    assert.match(await verdict(`${head}.${payload}.${mac}`, keys), /28000/)
  })

  it('is not followed to a key that it brings along', async () => {
    const stranger = await Issuer.create('ES256', 'brought')
    const jwk = await stranger.publicJwk()
    for (const header of [{ jwk }, { jku: 'http://127.0.0.1:1/keys' }, { x5u: 'http://127.0.0.1:1/' }])
      assert.match(await verdict(await stranger.token({ header })), /a key that is not known/)
    assert.match(
      await verdict(await stranger.token({ header: { crit: ['x'], x: 1 } }).catch(() => 'a.b.c')),
      /28000/,
    )
  })

  it('is refused where it is no token, or a huge one', async () => {
    const good = await issuer.token()
    const [head, payload, signature] = good.split('.')
    for (const text of [
      '',
      '.',
      '..',
      'a.b.c',
      `${head}.${payload}`,
      `${good}.x`,
      `${head}.${payload}.`,
      `${head}.${b64('[]')}.${signature}`,
      `${b64('{')}.${payload}.${signature}`,
      `${b64('null')}.${payload}.${signature}`,
      '\0'.repeat(100),
    ])
      assert.match(
        await verdict(text),
        /^28000 token authentication failed: /,
        JSON.stringify(text.slice(0, 40)),
      )
    assert.match(await ask({ claims: { fill: 'x'.repeat(9000) } }), /longer than 8192 bytes/)
  })

  it('is told from a password by its shape', async () => {
    assert.equal(looksLikeToken(await issuer.token()), true)
    for (const text of ['', 'password', 'a.b.c', 'eyJ', 'eyJhbGciOiJub25lIn0', 'eyJ a.b.c', 'eyJx.y.z '])
      assert.equal(looksLikeToken(text), false, text)
  })
})

describe('the role of a token', () => {
  const as = (payload: object, user: string, rules: Partial<TokenRules> = {}): string => {
    const believed = { payload, json: JSON.stringify(payload), expiresAt: 1 } as Believed
    const found = claimsOf(believed, { ...RULES, ...rules }, user)
    return 'sqlstate' in found ? found.sqlstate : `${found.role} by ${found.loginUser}`
  }

  it('is the one asked for, if the configuration and the token allow it', () => {
    assert.equal(as({ role: 'web_user' }, 'web_user'), 'web_user by web_user')
    assert.equal(as({ role: ['web_user', 'web_admin'] }, 'web_admin'), 'web_admin by web_admin')
    assert.equal(as({ role: 'web_user' }, 'web_admin'), '28000')
    assert.equal(as({ role: ['web_user'] }, 'web_admin'), '28000')
    assert.equal(as({ role: 'postgres' }, 'postgres'), '28000', 'no role of jwt.roles')
    for (const role of [undefined, null, 7, { web_user: true }, [['web_user']], '', 'web_user,web_admin'])
      assert.equal(as({ role }, 'web_user'), '28000', JSON.stringify(role))
  })

  it('is the only one of the token where none is asked for', () => {
    assert.equal(as({ role: 'web_user' }, ''), 'web_user by web_user')
    assert.equal(as({ role: ['web_user'] }, ''), 'web_user by web_user')
    assert.equal(as({ role: ['web_user', 'web_admin'] }, ''), '28000')
    assert.equal(as({ role: 'postgres' }, ''), '28000')
    assert.equal(as({}, ''), '28000')
    assert.equal(as({ role: [7] }, ''), '28000')
  })

  it('is any of the configuration where tokens name none', () => {
    assert.equal(as({}, 'web_user', { roleClaim: '' }), 'web_user by web_user')
    assert.equal(as({ role: 'web_user' }, 'postgres', { roleClaim: '' }), '28000')
    assert.equal(as({}, '', { roleClaim: '' }), '28000')
  })

  it('is taken by the user who logs in, if there is one', () => {
    assert.equal(as({ role: 'web_user' }, 'web_user', { loginUser: 'door' }), 'web_user by door')
    // Names of what all objects have are claims like others.
    assert.equal(as({}, 'web_user', { roleClaim: 'constructor' }), '28000')
    assert.equal(as({}, 'toString', { roleClaim: '__proto__', roles: ['toString'] }), '28000')
  })
})
