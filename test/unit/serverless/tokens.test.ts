// The keys of tokens: from a file and from an address, when they are read again, and what happens when they
// cannot be. The keys are real, and so is the server that publishes them.
import assert from 'node:assert/strict'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, afterEach, before, describe, it } from 'node:test'
import { FailureLimit } from '../../../src/auth/failure-limit.ts'
import type { JwtConfig } from '../../../src/config/types.ts'
import { getText } from '../../../src/net/get-text.ts'
import { KeysError } from '../../../src/serverless/jwks.ts'
import { Tokens } from '../../../src/serverless/tokens.ts'
import { AUDIENCE, ISSUER, Issuer, KeyServer } from '../../support/tokens.ts'
import { until } from '../../support/waits.ts'

const folder = mkdtempSync(join(tmpdir(), 'pgmux-keys-'))
after(() => rmSync(folder, { recursive: true }))
const file = join(folder, 'keys.json')

const RULES: JwtConfig = {
  jwksUrl: '',
  jwksFile: '',
  algorithms: ['ES256'],
  issuer: ISSUER,
  audience: AUDIENCE,
  roleClaim: '',
  roles: ['web_user'],
  loginUser: '',
  leewayMs: 0,
}

const clock = { now: 0 }
const warnings: string[] = []
let wall: () => number = Date.now
let issuer: Issuer
const opened: { close(): void }[] = []
const servers: KeyServer[] = []

before(async () => {
  issuer = await Issuer.create()
})
afterEach(async () => {
  for (const one of opened.splice(0)) one.close()
  for (const one of servers.splice(0)) await one.stop()
  warnings.length = 0
  clock.now = 0
  wall = Date.now
})

function tokens(wishes: Partial<JwtConfig>, failures = new FailureLimit()): Tokens {
  const rules = { ...RULES, ...wishes }
  const made = new Tokens(rules, {
    failures,
    time: clock,
    wallClock: () => wall(),
    warn: (error, message) => warnings.push(`${message}: ${error}`),
  })
  opened.push(made)
  made.use(rules, made.prepare(rules))
  return made
}

async function serve(body: string): Promise<KeyServer> {
  const server = await KeyServer.start(body)
  servers.push(server)
  return server
}

async function ask(judge: Tokens, token: string, user = 'web_user', address = '192.0.2.1'): Promise<string> {
  const found = await judge.judge(token, user, address)
  return 'sqlstate' in found ? `${found.sqlstate} ${found.message}` : `${found.role}`
}

describe('keys in a file', () => {
  it('are used, and followed when the file becomes another', async () => {
    writeFileSync(file, await issuer.keys())
    const judge = tokens({ jwksFile: file })
    const old = await issuer.token()
    assert.equal(judge.isOn, true)
    assert.equal(await ask(judge, old), 'web_user')
    const next = await Issuer.create('ES256', 'key-2')
    writeFileSync(file, await next.keys())
    const fresh = await next.token()
    await until(
      async () => (await ask(judge, fresh)) === 'web_user',
      () => 'new keys are not used',
    )
    assert.match(await ask(judge, old), /a key that is not known/, 'believed before, and no more')
    writeFileSync(file, 'half a fi')
    await until(
      () => warnings.length > 0,
      () => 'nobody is warned',
    )
    assert.match(warnings[0] ?? '', /the old ones stay in use: cannot use the keys in .*: it is no JSON/)
    assert.equal(await ask(judge, fresh), 'web_user')
  })

  it('must be public, named, and there', async () => {
    const judge = tokens({})
    assert.equal(judge.isOn, false)
    const named = await issuer.publicJwk()
    const bad: [text: string, why: RegExp][] = [
      ['', /no JSON/],
      ['[]', /no list "keys"/],
      ['null', /no list "keys"/],
      ['{"keys":[]}', /none of its keys/],
      [JSON.stringify({ keys: [{ ...named, kid: undefined }] }), /none of its keys/],
      [JSON.stringify({ keys: [await issuer.privateJwk()] }), /none of its keys/],
      [JSON.stringify({ keys: [{ kty: 'oct', kid: 'a', k: 'AAAA' }] }), /none of its keys/],
      [JSON.stringify({ keys: [{ ...named, use: 'enc' }] }), /none of its keys/],
      [`{"keys":[${'1,'.repeat(40_000)}1]}`, /65536 bytes/],
    ]
    for (const [text, why] of bad) {
      writeFileSync(file, text)
      const prepare = () => judge.prepare({ ...RULES, jwksFile: file })
      assert.throws(prepare, (error: Error) => error instanceof KeysError && why.test(error.message), text)
    }
  })
})

describe('keys at an address', () => {
  it('are read once for many tokens, and again for a key that is new', async () => {
    const server = await serve(await issuer.keys())
    const judge = tokens({ jwksUrl: server.url })
    const many = await Promise.all(Array.from({ length: 20 }, (_, n) => issuer.token({ claims: { n } })))
    for (const found of await Promise.all(many.map((token) => ask(judge, token))))
      assert.equal(found, 'web_user')
    assert.equal(server.requests, 1)
    const next = await Issuer.create('ES256', 'key-2')
    server.answer = { body: await next.keys(await issuer.publicJwk()) }
    const fresh = await next.token()
    assert.match(await ask(judge, fresh), /not known/, 'asked again too soon')
    assert.equal(server.requests, 1)
    clock.now += 31_000
    assert.equal(await ask(judge, fresh), 'web_user')
    // However many keys are made up, the server is asked once in half a minute.
    for (let n = 0; n < 20; n++) await ask(judge, await issuer.token({ header: { kid: `made up ${n}` } }))
    assert.equal(server.requests, 2)
  })

  it('are no longer believed when they are taken back', async () => {
    const server = await serve(await issuer.keys())
    const judge = tokens({ jwksUrl: server.url })
    const token = await issuer.token()
    assert.equal(await ask(judge, token), 'web_user')
    const next = await Issuer.create('ES256', 'key-2')
    server.answer = { body: await next.keys() }
    clock.now += 301_000
    // Old keys are still used while new ones are read.
    assert.equal(await ask(judge, await issuer.token({ claims: { n: 2 } })), 'web_user')
    await until(
      async () => (await ask(judge, token)).includes('not known'),
      () => 'old keys are used',
    )
  })

  it('stay in use for an hour while their server does not answer', async () => {
    const server = await serve(await issuer.keys())
    const judge = tokens({ jwksUrl: server.url })
    assert.equal(await ask(judge, await issuer.token()), 'web_user')
    server.answer = { status: 500, body: 'secret words' }
    clock.now += 3_500_000
    assert.equal(await ask(judge, await issuer.token({ claims: { n: 1 } })), 'web_user')
    await until(
      () => warnings.length > 0,
      () => 'nobody is warned',
    )
    assert.deepEqual(warnings, ['the keys of tokens cannot be read: the answer has status 500'])
    clock.now += 200_000
    assert.match(
      await ask(judge, await issuer.token({ claims: { n: 2 } })),
      /^58000 tokens cannot be checked/,
    )
    server.answer = { body: await issuer.keys() }
    clock.now += 31_000
    assert.equal(await ask(judge, await issuer.token({ claims: { n: 3 } })), 'web_user')
  })

  it('are not taken from somewhere else, nor in any length, nor waited for without end', async () => {
    const server = await serve(await issuer.keys())
    const limits = { maxBytes: 1000, timeoutMs: 300 }
    assert.equal(await getText(server.url, limits), await issuer.keys())
    const elsewhere = await serve(await issuer.keys())
    server.answer = { status: 302, headers: { location: elsewhere.url }, body: '' }
    await assert.rejects(getText(server.url, limits), /status 302/)
    assert.equal(elsewhere.requests, 0)
    server.answer = { body: 'x'.repeat(1001) }
    await assert.rejects(getText(server.url, limits), /longer than 1000 bytes/)
    server.answer = { headers: { 'content-length': '10' }, body: 'x' }
    await assert.rejects(getText(server.url, limits), /no answer within 300 ms|aborted|reset/)
    for (const address of ['169.254.169.254', '[fe80::1]', '[::ffff:169.254.169.254]'])
      await assert.rejects(getText(`http://${address}/`, limits), /link-local/)
    await server.stop()
    await assert.rejects(getText(server.url, limits), /connection refused/)
    servers.splice(servers.indexOf(server), 1)
  })
})

describe('tokens that were believed', () => {
  it('are so at once, until they end', async () => {
    writeFileSync(file, await issuer.keys())
    const judge = tokens({ jwksFile: file })
    const exp = Math.floor(Date.now() / 1000) + 60
    const token = await issuer.token({ claims: { exp } })
    assert.ok(judge.judge(token, 'web_user', '192.0.2.1') instanceof Promise)
    assert.equal(await ask(judge, token), 'web_user')
    const again = judge.judge(token, 'web_user', '192.0.2.1')
    assert.ok(!(again instanceof Promise) && 'role' in again)
    assert.equal(again.expiresAt, exp * 1000)
    assert.match(await ask(judge, token, 'postgres'), /does not allow/, 'the role is judged each time')
    wall = () => exp * 1000
    assert.match(await ask(judge, token), /it has expired/)
  })

  it('by rules that changed while it was looked at are not so the next time', async () => {
    const { url: jwksUrl } = await serve(await issuer.keys())
    const judge = tokens({ jwksUrl })
    const token = await issuer.token()
    const first = ask(judge, token)
    const stricter = { ...RULES, jwksUrl, audience: 'somebody else' }
    judge.use(stricter, judge.prepare(stricter))
    await first
    assert.match(await ask(judge, token), /^28000 /)
  })

  it('are never limited by wrong ones of their address; others wait', async () => {
    writeFileSync(file, await issuer.keys())
    const failures = new FailureLimit()
    failures.configure({ failureRate: 1, failureBurst: 3 })
    const judge = tokens({ jwksFile: file }, failures)
    const [good, other] = [await issuer.token(), await issuer.token({ claims: { n: 1 } })]
    assert.equal(await ask(judge, good), 'web_user')
    for (let n = 0; n < 3; n++) assert.match(await ask(judge, `${good.slice(0, -4)}AAA${n}`), /^28000/)
    assert.match(await ask(judge, `${good.slice(0, -4)}AAA4`), /^53300/)
    assert.match(await ask(judge, other), /^53300/)
    assert.equal(await ask(judge, other, 'web_user', '192.0.2.2'), 'web_user')
    assert.equal(await ask(judge, good), 'web_user')
    clock.now += 1000
    assert.equal(await ask(judge, await issuer.token({ claims: { n: 2 } })), 'web_user')
  })
})
