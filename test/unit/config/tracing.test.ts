// The section `tracing`: what is taken, what is refused, and that no header stands in a complaint.
import assert from 'node:assert/strict'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, it } from 'node:test'
import { loadConfig } from '../../../src/config/load.ts'
import { parseHeaders } from '../../../src/util/header-list.ts'

const folder = mkdtempSync(join(tmpdir(), 'pgmux-tracing-'))
after(() => rmSync(folder, { recursive: true }))

function load(env: Record<string, string>) {
  return loadConfig({ env: { DATABASE_URL: 'postgres://u:p@127.0.0.1/db', ...env } }).config.tracing
}

it('has headers as text or in a file', () => {
  const file = join(folder, 'headers')
  writeFileSync(file, 'authorization=Bearer%20abc , X-Tenant=one=two,\n')
  const config = load({
    PGMUX_TRACING_ENDPOINT: 'https://c.example/v1/traces',
    PGMUX_TRACING_HEADERS_FILE: file,
  })
  assert.equal(config.endpoint, 'https://c.example/v1/traces')
  assert.equal(config.sample, 0.01)
  assert.deepEqual(
    [...(parseHeaders(config.headers) ?? [])],
    [
      ['authorization', 'Bearer abc'],
      ['x-tenant', 'one=two'],
    ],
  )
  assert.equal(load({ PGMUX_TRACING_SAMPLE: '1' }).sample, 1)
})

it('refuses what it cannot use, and shows no secret', () => {
  const headers = join(folder, 'headers')
  writeFileSync(headers, 'a=b')
  for (const [env, complaint] of [
    [{ PGMUX_TRACING_ENDPOINT: 'collector:4317' }, /expects a URL of http or https/],
    [{ PGMUX_TRACING_ENDPOINT: 'http://me:secret-word@c.example' }, /must not hold a password/],
    [{ PGMUX_TRACING_SAMPLE: '1.5' }, /expects a number from 0 to 1/],
    [{ PGMUX_TRACING_SAMPLE: 'secret-word' }, /expects a number from 0 to 1/],
    [{ PGMUX_TRACING_HEADERS: 'secret-word' }, /expects headers as name=value/],
    [{ PGMUX_TRACING_HEADERS: 'a=secret-word%0d%0ab: c' }, /expects headers as name=value/],
    [{ PGMUX_TRACING_HEADERS: 'a=%zz secret-word' }, /expects headers as name=value/],
    [{ PGMUX_TRACING_HEADERS: 'a=b', PGMUX_TRACING_HEADERS_FILE: headers }, /stands beside "headers_file"/],
  ] as const) {
    assert.throws(
      () => load(env as Record<string, string>),
      (error: Error) => {
        assert.match(error.message, complaint)
        const mayShow = 'PGMUX_TRACING_SAMPLE' in env
        assert.ok(mayShow || !error.message.includes('secret-word'), error.message)
        return true
      },
    )
  }
})
