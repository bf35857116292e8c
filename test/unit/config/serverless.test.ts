// The rules of the section `serverless`: lists of origins, hosts and proxies are held against what they mean.
import assert from 'node:assert/strict'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, describe, it } from 'node:test'
import { ConfigError, loadConfig } from '../../../src/config/load.ts'

const folder = mkdtempSync(join(tmpdir(), 'pgmux-serverless-'))
after(() => rmSync(folder, { recursive: true }))

function load(section: string) {
  const file = join(folder, 'config.yaml')
  writeFileSync(file, `upstream: { url: "postgres://u:p@h/d" }\nserverless: ${section}\n`)
  return loadConfig({ file, env: {}, flags: {}, terminal: false }).config.serverless
}

function problem(section: string): string {
  try {
    load(section)
  } catch (error) {
    assert.ok(error instanceof ConfigError, String(error))
    return error.problems.join('\n')
  }
  return ''
}

describe('the lists of the endpoint for WebSocket and HTTP', () => {
  it('are kept as they will be compared', () => {
    const { allowedOrigins, allowedHosts, trustProxy } = load(
      '{ allowed_origins: "HTTPS://App.Example:443, http://localhost:5173, *", ' +
        'allowed_hosts: "DB.example, db", trust_proxy: "10.0.0.0/8, ::1, 192.0.2.7" }',
    )
    assert.deepEqual(allowedOrigins, ['https://app.example', 'http://localhost:5173', '*'])
    assert.deepEqual(allowedHosts, ['db.example', 'db'])
    assert.deepEqual(trustProxy, ['10.0.0.0/8', '::1', '192.0.2.7'])
  })

  it('are refused where an entry could never fit', () => {
    for (const origin of [
      'https://a.example/',
      'https://a.example/x',
      'a.example',
      'null',
      'https://u@h',
      'https://',
    ])
      assert.match(
        problem(`{ allowed_origins: "${origin}" }`),
        /allowed_origins: expects origins like/,
        origin,
      )
    for (const host of ['https://a.example', 'a.example:6480', '*', 'a b'])
      assert.match(problem(`{ allowed_hosts: "${host}" }`), /allowed_hosts: expects host names/, host)
    for (const proxy of ['10.0.0.0/33', '10.0.0/8', 'proxy.example', '10.0.0.0/', '10.0.0.0/x', '*'])
      assert.match(problem(`{ trust_proxy: "${proxy}" }`), /trust_proxy: expects addresses/, proxy)
  })
})

describe('its certificate', () => {
  it('is found from the folder of the configuration, and missed there', () => {
    writeFileSync(join(folder, 'tls.crt'), '')
    writeFileSync(join(folder, 'tls.key'), '')
    const { tls } = load('{ tls: { cert_file: tls.crt, key_file: tls.key } }')
    assert.deepEqual([tls.certFile, tls.keyFile], [join(folder, 'tls.crt'), join(folder, 'tls.key')])
    assert.match(
      problem('{ tls: { cert_file: tls.crt, key_file: gone.key } }'),
      /:2: serverless\.tls\.key_file: cannot read gone\.key: there is no such file/,
    )
    assert.match(problem('{ tls: { key_file: tls.key } }'), /needs cert_file and key_file/)
  })
})

describe('the rules for tokens', () => {
  const RULES = 'issuer: i, audience: a, roles: "web_user, web_admin"'

  it('are kept, with the file found from the folder of the configuration', () => {
    writeFileSync(join(folder, 'keys.json'), '{}')
    const { jwt } = load(`{ jwt: { jwks_file: keys.json, ${RULES}, login_user: door } }`)
    assert.deepEqual(jwt, {
      jwksUrl: '',
      jwksFile: join(folder, 'keys.json'),
      algorithms: ['RS256', 'ES256'],
      issuer: 'i',
      audience: 'a',
      roleClaim: 'role',
      roles: ['web_user', 'web_admin'],
      loginUser: 'door',
      leewayMs: 30_000,
    })
    for (const url of [
      'https://issuer.example/keys',
      'http://127.0.0.1:80/keys',
      'http://localhost/keys',
      'http://[::1]/',
    ])
      assert.equal(problem(`{ jwt: { jwks_url: "${url}", ${RULES} } }`), '', url)
  })

  it('are refused where they would believe too much, or nothing', () => {
    const rows: [jwt: string, problem: RegExp][] = [
      [`jwks_url: "http://issuer.example/keys", ${RULES}`, /jwks_url: expects an https/],
      [`jwks_url: "issuer.example", ${RULES}`, /jwks_url: expects an https/],
      [`jwks_url: "file:///keys", ${RULES}`, /jwks_url: expects an https/],
      [`jwks_url: "https://u:secret-of-u@h/keys", ${RULES}`, /jwks_url: must not hold a user or password/],
      [`jwks_file: missing.json, ${RULES}`, /jwks_file: cannot read missing\.json/],
      [`jwks_url: "https://h/keys", jwks_file: keys.json, ${RULES}`, /jwks_url: stands beside/],
      [`jwks_url: "https://h/keys", ${RULES}, algorithms: "RS256, HS256"`, /"HS256" is not one of/],
      [`jwks_url: "https://h/keys", ${RULES}, algorithms: "none"`, /"none" is not one of/],
      [`jwks_url: "https://h/keys", ${RULES}, algorithms: ","`, /algorithms: names no signature/],
      ['jwks_url: "https://h/keys", audience: a, roles: r', /issuer: is needed/],
      ['jwks_url: "https://h/keys", issuer: i, roles: r', /audience: is needed/],
      ['jwks_url: "https://h/keys", issuer: i, audience: a', /roles: names no role/],
    ]
    for (const [jwt, expected] of rows) {
      const said = problem(`{ jwt: { ${jwt} } }`)
      assert.match(said, expected, jwt)
      assert.doesNotMatch(said, /secret-of-u/)
    }
  })
})
