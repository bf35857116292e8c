// The answers of the admin port, without a socket.
import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { adminHandler, type AdminSource } from '../../../src/admin/http.ts'

interface Answered {
  status: number
  headers: Record<string, string | number>
  body: string
}

const source: AdminSource = {
  metrics: async () => 'a 1\n',
  ready: () => ({ ok: true, reason: '' }),
}

function ask(method: string, url: string, from: AdminSource = source): Promise<Answered> {
  return new Promise((resolve) => {
    let status = 0
    let headers: Record<string, string | number> = {}
    adminHandler(from)(
      { method, url },
      {
        writeHead(code, fields) {
          status = code
          headers = fields
        },
        end: (body = '') => resolve({ status, headers, body }),
      },
    )
  })
}

describe('the admin port', () => {
  it('answers /metrics', async () => {
    const { status, headers, body } = await ask('GET', '/metrics?x=1')
    assert.equal(status, 200)
    assert.equal(body, 'a 1\n')
    assert.equal(headers['content-type'], 'text/plain; version=0.0.4; charset=utf-8')
  })

  it('answers HEAD without a body and with its length', async () => {
    const { status, headers, body } = await ask('HEAD', '/metrics')
    assert.deepEqual([status, headers['content-length'], body], [200, 4, ''])
  })

  it('lives even when it is not ready', async () => {
    const from = { ...source, ready: () => ({ ok: false, reason: 'draining' }) }
    assert.equal((await ask('GET', '/healthz', from)).status, 200)
    const ready = await ask('GET', '/readyz', from)
    assert.equal(ready.status, 503)
    assert.deepEqual(JSON.parse(ready.body), { ok: false, reason: 'draining' })
    assert.equal((await ask('GET', '/readyz')).status, 200)
  })

  it('refuses other paths and methods', async () => {
    for (const path of ['/', '', '/metrics/', '//metrics', '/../metrics', '/%6detrics']) {
      assert.equal((await ask('GET', path)).status, 404, path)
    }
    for (const method of ['POST', 'PUT', 'DELETE', 'OPTIONS', 'CONNECT', '', 'get']) {
      const { status, headers } = await ask(method, '/healthz')
      assert.equal(status, 405, method)
      assert.equal(headers.allow, 'GET, HEAD')
    }
  })

  it('answers 500 without the reason where its source throws', async () => {
    const broken: AdminSource = {
      metrics: () => Promise.reject(new Error('secret')),
      ready: () => {
        throw new Error('secret')
      },
    }
    for (const path of ['/metrics', '/readyz']) {
      const { status, body } = await ask('GET', path, broken)
      assert.equal(status, 500)
      assert.doesNotMatch(body, /secret/)
    }
  })
})
