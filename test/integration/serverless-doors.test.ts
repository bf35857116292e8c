// What comes over HTTP and WebSocket from pages in browsers, under strange names and through proxies, at a
// real pooler. What is refused is told in the way of each door.
import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { Doorstep } from '../support/doorstep.ts'
import { urlOf } from '../support/neon.ts'
import type { TestPooler } from '../support/pooler.ts'
import { getPostgres } from '../support/postgres.ts'

const postgres = await getPostgres()
const doorstep = await Doorstep.create(postgres)

describe('pages and names', () => {
  // J01
  it('of strangers are refused in words, over both', async () => {
    const pooler = await doorstep.start({ allowedOrigins: ['https://app.example'] })
    const strange = { origin: 'https://evil.example' }
    const { status, headers, body } = await doorstep.send(pooler, { headers: strange })
    assert.deepEqual([status, body.code], [400, '28000'])
    assert.match(String(body.message), /pages of this web site may not connect/)
    assert.equal(headers['access-control-allow-origin'], undefined)
    assert.match(
      await doorstep.knock(pooler, strange),
      /SFATAL.*C28000.*pages of this web site may not connect/,
    )
    const listed = { origin: 'https://app.example' }
    const good = await doorstep.send(pooler, { headers: listed })
    assert.deepEqual([good.status, good.headers['access-control-allow-origin']], [200, 'https://app.example'])
    assert.equal(await doorstep.knock(pooler, listed), 'in')
    const wrong = await doorstep.send(pooler, { url: doorstep.url('wrong-password'), headers: listed })
    assert.equal(wrong.headers['access-control-allow-origin'], 'https://app.example', 'errors as well')
  })

  it('are answered before they ask', async () => {
    const pooler = await doorstep.start({ allowedOrigins: ['https://app.example'] })
    const asked = { 'access-control-request-method': 'POST', 'access-control-request-headers': 'x' }
    const good = await doorstep.send(pooler, {
      method: 'OPTIONS',
      headers: { origin: 'https://app.example', ...asked },
    })
    assert.equal(good.status, 204)
    assert.match(String(good.headers['access-control-allow-headers']), /Neon-Batch-Deferrable/)
    const bad = await doorstep.send(pooler, {
      method: 'OPTIONS',
      headers: { origin: 'https://evil.example', ...asked },
    })
    assert.equal(bad.status, 403)
    assert.equal(bad.headers['access-control-allow-origin'], undefined)
  })

  it('that could mean any machine let nobody in without a password', async () => {
    const pooler = await doorstep.start({ allowedHosts: ['db.example'] }, { client: { auth: 'trust' } })
    const user = { url: urlOf(postgres, { username: 'door', password: '' }) }
    for (const host of ['localhost:6480', '127.0.0.1:6480', 'db.example']) {
      assert.equal((await doorstep.send(pooler, { ...user, headers: { host } })).status, 200, host)
      assert.equal(await doorstep.knock(pooler, { host }), 'in', host)
    }
    const host = 'rebound.evil.example'
    const { status, body } = await doorstep.send(pooler, { ...user, headers: { host } })
    assert.deepEqual([status, body.code], [400, '28000'])
    assert.match(String(body.hint), /allowed_hosts/)
    assert.match(await doorstep.knock(pooler, { host }), /SFATAL.*C28000.*not allowed under this host name/)
  })
})

describe('proxies', () => {
  const user = { url: urlOf(postgres, { username: 'door', password: '' }) }
  const far = '203.0.113.9'

  it('that nobody trusts make nobody else, and nobody of this machine', async () => {
    const pooler = await doorstep.start({}, { client: { auth: 'trust' } })
    assert.equal((await doorstep.send(pooler, user)).status, 200)
    const { status, body } = await doorstep.send(pooler, {
      ...user,
      headers: { 'x-forwarded-for': '127.0.0.1' },
    })
    assert.deepEqual([status, body.code], [400, '28000'])
    assert.match(await doorstep.knock(pooler, { 'x-forwarded-for': '127.0.0.1' }), /SFATAL.*C28000/)
  })

  it('that are trusted say where a client is, and whether others can read what it says', async () => {
    const pooler = await doorstep.start({ trustProxy: ['127.0.0.1'] })
    const https = { 'x-forwarded-for': far, 'x-forwarded-proto': 'https' }
    const http = { 'x-forwarded-for': far, 'x-forwarded-proto': 'http' }
    assert.equal((await doorstep.send(pooler, { headers: https })).status, 200)
    assert.equal(await doorstep.knock(pooler, https), 'in')
    const { status, body } = await doorstep.send(pooler, { headers: http })
    assert.deepEqual([status, body.code], [400, '28000'])
    assert.match(await doorstep.knock(pooler, http), /SFATAL.*C28000.*cleartext passwords are refused/)
    await doorstep.send(pooler, { url: doorstep.url('wrong-password'), headers: https })
    assert.ok(
      pooler.lines.some(({ fields }) => fields.client === far),
      'the log names the client',
    )
    const open = await doorstep.start({ trustProxy: ['127.0.0.1'], insecurePasswords: true })
    assert.equal((await doorstep.send(open, { headers: http })).status, 200)
  })

  it('that are trusted are not the address for which wrong passwords count', async () => {
    const limits = { failureRate: 1, failureBurst: 2 }
    const statusOf = async (pooler: TestPooler, n: number, from: string) => {
      const headers = { 'x-forwarded-for': `198.51.100.7, ${from}`, 'x-forwarded-proto': 'https' }
      return (
        await doorstep.send(pooler, { url: doorstep.url(`wrong-password-${n}`, `nobody-${n}`), headers })
      ).status
    }
    const trusted = await doorstep.start({ ...limits, trustProxy: ['127.0.0.1'] })
    for (let n = 0; n < 6; n++) assert.equal(await statusOf(trusted, n, `203.0.113.${n}`), 400)
    const seen = []
    // What a client says of itself counts for nothing: only the last one is of the proxy.
    for (let n = 6; n < 12; n++) seen.push(await statusOf(trusted, n, far))
    assert.ok(seen.includes(429), String(seen))
  })
})
