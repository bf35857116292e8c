// Who may knock over WebSocket and HTTP: pages, names, proxies; and what browsers are told.
import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { Access } from '../../../src/auth/access.ts'
import { loadConfig } from '../../../src/config/load.ts'
import { Doors, type RequestHeaders } from '../../../src/serverless/doors.ts'
import type { PeerInfo } from '../../../src/wire/byte-stream.ts'

const from = (address: string, encrypted = false): PeerInfo => ({
  kind: 'tcp',
  address,
  port: 4711,
  encrypted,
  loopback: address === '127.0.0.1' || address === '::1',
})

function doors(rules: Partial<ConstructorParameters<typeof Doors>[0]> = {}): Doors {
  return new Doors({
    trustProxy: [],
    allowedOrigins: [],
    allowedHosts: [],
    insecurePasswords: false,
    ...rules,
  })
}

const caller = (rules: Parameters<typeof doors>[0], headers: RequestHeaders, address = '127.0.0.1') =>
  doors(rules).caller(headers, from(address))

describe('where a request comes from', () => {
  const behind = (trustProxy: readonly string[], forwarded: string, socket = '10.0.0.1') =>
    caller({ trustProxy }, { 'x-forwarded-for': forwarded }, socket).peer.address

  it('is what the last proxy says that is not trusted', () => {
    const rows: [trusted: string[], forwarded: string, address: string][] = [
      [[], '203.0.113.9', '10.0.0.1'],
      [['10.0.0.1'], '203.0.113.9', '203.0.113.9'],
      [['10.0.0.0/8'], '203.0.113.9', '203.0.113.9'],
      [['fd00::/8'], '203.0.113.9', '10.0.0.1'],
      // A client writes into the header what it likes; proxies append.
      [['10.0.0.0/8'], '127.0.0.1, 203.0.113.9', '203.0.113.9'],
      [['10.0.0.0/8'], '198.51.100.1, 203.0.113.9, 10.0.0.7', '203.0.113.9'],
      [['10.0.0.0/8'], '10.0.0.9, 10.0.0.8', '10.0.0.9'],
      [['10.0.0.0/8'], 'unknown, 10.0.0.8', '10.0.0.8'],
      [['10.0.0.0/8'], 'rubbish', '10.0.0.1'],
      [['10.0.0.0/8'], '', '10.0.0.1'],
      [['10.0.0.0/8'], '203.0.113.9:5123', '203.0.113.9'],
      [['10.0.0.0/8'], '[2001:DB8:0::1]:5123', '2001:db8::1'],
      [['10.0.0.0/8'], '2001:db8::1', '2001:db8::1'],
      [['10.0.0.0/8'], '::ffff:203.0.113.9', '203.0.113.9'],
    ]
    for (const [trusted, forwarded, address] of rows)
      assert.equal(behind(trusted, forwarded), address, forwarded)
    assert.equal(behind(['::1'], '203.0.113.9', '::1'), '203.0.113.9')
  })

  it('is believed to be encrypted where TLS ends here, or where a trusted proxy says so', () => {
    const proto = (name: string, trustProxy: readonly string[], address = '10.0.0.1') =>
      caller({ trustProxy }, { 'x-forwarded-proto': name }, address)
    assert.equal(proto('https', []).isSecure, false, 'anybody can send the header')
    assert.equal(proto('https', ['10.0.0.1']).isSecure, true)
    assert.equal(proto('wss', ['10.0.0.1']).isSecure, true)
    assert.equal(proto('http', ['10.0.0.1']).isSecure, false)
    assert.equal(proto('https, http', ['10.0.0.1']).isSecure, false, 'a client may have said the first')
    assert.equal(doors().caller({}, from('203.0.113.9', true)).isSecure, true)
    assert.equal(caller({}, {}, '203.0.113.9').isSecure, false)
    assert.equal(caller({}, {}).isSecure, true)
  })

  it('is never this machine where somebody stands between', () => {
    assert.equal(caller({}, {}).peer.loopback, true)
    const trustProxy = ['127.0.0.1']
    for (const headers of [{}, { 'x-forwarded-for': '127.0.0.1' }, { 'x-forwarded-for': '203.0.113.9' }])
      assert.equal(caller({ trustProxy }, headers).peer.loopback, false)
    for (const name of ['x-forwarded-for', 'forwarded', 'x-real-ip', 'x-forwarded-proto']) {
      const { peer, isSecure } = caller({}, { [name]: 'x' })
      assert.deepEqual([peer.loopback, peer.address, isSecure], [false, '127.0.0.1', false], name)
    }
  })

  it('is not worked out again for a connection on which the same is said', () => {
    const rules = doors({ trustProxy: ['10.0.0.1'] })
    const headers = { host: 'localhost', origin: 'https://a.example' }
    const first = rules.caller(headers, from('10.0.0.1'))
    const before = { caller: first, doors: rules, ...headers }
    assert.equal(rules.sameCaller({ ...headers }, before), first)
    assert.equal(rules.sameCaller(headers, undefined), null)
    // Other rules count at once, and each request may be of somebody else.
    assert.equal(doors().sameCaller(headers, before), null)
    for (const name of ['x-forwarded-for', 'x-forwarded-proto', 'x-real-ip', 'forwarded', 'host', 'origin'])
      assert.equal(rules.sameCaller({ ...headers, [name]: '' }, before), null, name)
    assert.equal(rules.sameCaller({ host: 'localhost' }, before), null)
  })

  it('takes passwords where nobody can read them, or the operator does not mind', () => {
    const takes = (insecurePasswords: boolean, address: string) =>
      caller({ insecurePasswords }, {}, address).peer.web?.takesPasswords
    assert.equal(takes(false, '203.0.113.9'), false)
    assert.equal(takes(true, '203.0.113.9'), true)
    assert.equal(takes(false, '127.0.0.1'), true)
  })
})

describe('web pages', () => {
  it('may connect from listed origins, in just that spelling', () => {
    const may = (allowedOrigins: string[], origin?: string) =>
      caller({ allowedOrigins }, origin === undefined ? {} : { origin }).peer.web?.isOriginAllowed
    assert.equal(may([]), true, 'no page')
    assert.equal(may([], 'https://a.example'), false)
    assert.equal(may([], 'null'), false)
    assert.equal(may(['https://a.example'], 'https://a.example'), true)
    for (const other of ['http://a.example', 'https://a.example:8443', 'https://a.example.evil', 'null', ''])
      assert.equal(may(['https://a.example'], other), false, other)
    assert.equal(may(['*'], 'https://anything.example'), true)
    assert.equal(may(['*'], 'null'), true)
  })

  it('need a known host name, and to be listed, where no password is asked', () => {
    const { config } = loadConfig({
      env: {},
      flags: { upstream: 'postgres://u@h/d' },
      terminal: false,
    })
    const access = new Access(config.client, { tlsOfDatabase: () => 'disable', localAddresses: () => [] })
    const judged = (rules: Parameters<typeof doors>[0], headers: RequestHeaders): string => {
      const { peer } = caller(rules, headers)
      const gate = access.judge({ user: 'u', database: 'd', isPhysicalReplication: false, peer })
      return 'sqlstate' in gate ? `${gate.sqlstate} ${gate.hint}` : gate.method
    }
    for (const host of [
      'localhost',
      'LOCALHOST:6480',
      'app.localhost',
      '127.0.0.1:6480',
      '[::1]:6480',
      '[::1]',
    ])
      assert.equal(judged({}, { host }), 'trust', host)
    for (const host of [
      'evil.example',
      'localhost.evil.example',
      '127.0.0.1.evil.example',
      '',
      '[evil]',
      '1.2',
    ])
      assert.match(judged({}, { host }), /^28000 .*allowed_hosts/, host)
    const allowedHosts = ['db.example']
    assert.equal(judged({ allowedHosts }, { host: 'db.example:6480' }), 'trust')
    assert.match(judged({ allowedHosts }, { host: 'a.db.example' }), /^28000/)
    const page = { host: 'localhost', origin: 'https://a.example' }
    assert.match(judged({}, page), /^28000 .*allowed_origins/)
    assert.match(judged({ allowedOrigins: ['*'] }, page), /^28000 .*allowed_origins/, 'any page at all')
    assert.equal(judged({ allowedOrigins: ['https://a.example'] }, page), 'trust')
  })
})

describe('what browsers are told (CORS)', () => {
  const listed = doors({ allowedOrigins: ['https://a.example'] })

  it('is nothing where no origin is listed', () => {
    assert.deepEqual(doors().cors('https://a.example'), {})
    assert.equal(doors().preflight({ origin: 'https://a.example' }).status, 403)
  })

  // J18
  it('names the one origin, never all of them, and no credentials', () => {
    const any = doors({ allowedOrigins: ['*'] })
    for (const one of [listed, any]) {
      const headers = one.cors('https://a.example')
      assert.equal(headers['access-control-allow-origin'], 'https://a.example')
      assert.equal(headers['access-control-expose-headers'], 'neon-request-id')
      assert.equal(headers.vary, 'Origin')
      const preflight = one.preflight({ origin: 'https://a.example' })
      for (const name of [...Object.keys(headers), ...Object.keys(preflight.headers)])
        assert.notEqual(name, 'access-control-allow-credentials')
    }
    assert.deepEqual(listed.cors('https://b.example'), { vary: 'Origin' })
    assert.deepEqual(listed.cors(null), { vary: 'Origin' })
  })

  it('lets pages send what drivers send', () => {
    const { status, headers } = listed.preflight({
      origin: 'https://a.example',
      'access-control-request-method': 'POST',
      'access-control-request-private-network': 'true',
    })
    assert.equal(status, 204)
    assert.equal(headers.allow, 'OPTIONS, POST')
    assert.equal(headers['access-control-max-age'], '86400')
    assert.equal(headers['access-control-allow-private-network'], 'true')
    const names = (headers['access-control-allow-headers'] ?? '').toLowerCase().split(', ')
    for (const name of 'authorization content-type neon-connection-string neon-batch-deferrable'.split(' '))
      assert.ok(names.includes(name), name)
    assert.equal(listed.preflight({ origin: 'https://b.example' }).status, 403)
    assert.equal(
      listed.preflight({ origin: 'https://b.example' }).headers['access-control-allow-origin'],
      undefined,
    )
    assert.equal(listed.preflight({}).status, 403)
  })
})
