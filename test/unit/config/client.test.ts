// The rules of the section `client`: what is safe when nobody chooses, and which choices do not fit together.

import assert from 'node:assert/strict'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, describe, it } from 'node:test'
import { ConfigError, loadConfig } from '../../../src/config/load.ts'

const folder = mkdtempSync(join(tmpdir(), 'pgmux-client-'))
after(() => rmSync(folder, { recursive: true }))
for (const name of ['cert', 'key', 'ca']) writeFileSync(join(folder, name), '')

const UPSTREAM = 'upstream: { url: "postgres://u:p@h/d" }\n'
const OFFERED = 'client:\n  tls: { mode: prefer, cert_file: cert, key_file: key }\n'

function load(yaml: string) {
  const file = join(folder, 'config.yaml')
  writeFileSync(file, yaml)
  return loadConfig({ file, env: {}, flags: {}, terminal: false }).config
}

function problemsOf(yaml: string): readonly string[] {
  try {
    load(yaml)
  } catch (error) {
    assert.ok(error instanceof ConfigError, String(error))
    return error.problems.map((problem) => problem.replaceAll(`${folder}/config.yaml:`, ''))
  }
  return []
}

describe('what is safe by default', () => {
  // E06
  it('SCRAM, not md5 nor a password in the clear', () => {
    assert.equal(load(UPSTREAM).client.auth, 'scram-sha-256')
  })

  // E12
  it('only this machine can connect, and trust is for nobody else', () => {
    const { listen } = load(UPSTREAM)
    assert.deepEqual(listen.hosts, ['127.0.0.1'])
    assert.equal(listen.unixSocketDir, '')
    const open = `${UPSTREAM}listen: { host: 0.0.0.0 }\n`
    assert.deepEqual(problemsOf(open), [])
    const [problem, ...more] = problemsOf(`${open}client: { auth: trust }\n`)
    assert.match(problem ?? '', /client\.auth: trust lets everybody in who can connect/)
    assert.deepEqual(more, [])
    // Without a password for Postgres and without users trust is what is left: here only.
    const bare = 'upstream: { host: h }\n'
    assert.equal(load(bare).client.auth, 'trust')
    assert.match(
      problemsOf(`${bare}listen: { host: 0.0.0.0 }\n`)[0] ?? '',
      /could connect without a password/,
    )
  })
})

describe('TLS of clients', () => {
  it('needs its files', () => {
    assert.deepEqual(problemsOf(`${UPSTREAM}client:\n  tls: { mode: verify-ca }\n`), [
      '3: client.tls.cert_file: is needed for client.tls.mode verify-ca',
      '3: client.tls.key_file: is needed for client.tls.mode verify-ca',
      '3: client.tls.ca_file: is needed for client.tls.mode verify-ca',
    ])
    assert.deepEqual(problemsOf(UPSTREAM + OFFERED), [])
  })

  it('of a database can be no more than the listener has', () => {
    const database = (mode: string) => `databases:\n  app: { client_tls_mode: ${mode} }\n`
    assert.deepEqual(problemsOf(UPSTREAM + database('require')), [
      '3: databases.app.client_tls_mode: require needs TLS: set client.tls.mode to prefer',
    ])
    assert.deepEqual(problemsOf(UPSTREAM + OFFERED + database('verify-full')), [
      '5: databases.app.client_tls_mode: verify-full needs client.tls.ca_file',
    ])
    assert.deepEqual(problemsOf(UPSTREAM + database('disable')), [])
    assert.deepEqual(problemsOf(UPSTREAM + OFFERED + database('require')), [])
    const withCa = OFFERED.replace('key_file', 'ca_file: ca, key_file')
    assert.equal(
      load(UPSTREAM + withCa + database('verify-ca')).databases.get('app')?.clientTlsMode,
      'verify-ca',
    )
  })

  it('is needed by the methods that rest on it', () => {
    for (const auth of ['cert', 'scram-sha-256-plus']) {
      const problems = problemsOf(`${UPSTREAM}client: { auth: ${auth} }\n`)
      assert.ok(
        problems.some((problem) => problem.endsWith(`${auth} needs TLS: set client.tls.mode to require`)),
        problems.join('\n'),
      )
    }
    const cert = `${UPSTREAM}${OFFERED}  auth: cert\n`
    assert.ok(problemsOf(cert).some((problem) => /ca_file: is needed for client\.auth cert/.test(problem)))
  })
})
