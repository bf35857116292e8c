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
