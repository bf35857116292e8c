// The URL of an upstream: what is read, and that errors repeat nothing of it.

import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { parseUpstreamUrl } from '../../../src/config/upstream-url.ts'

describe('parseUpstreamUrl', () => {
  it('reads every part', () => {
    assert.deepEqual(
      parseUpstreamUrl(
        'postgres://us%40er:p%2Fw%25%3A@db.example.com:6000/my%20db?' +
          'sslmode=verify-full&sslrootcert=ca.pem&sslcert=c.pem&sslkey=c.key&sslnegotiation=direct&' +
          'channel_binding=require',
      ),
      {
        host: 'db.example.com',
        port: 6000,
        user: 'us@er',
        password: 'p/w%:',
        dbname: 'my db',
        tls: {
          mode: 'verify-full',
          negotiation: 'direct',
          caFile: 'ca.pem',
          certFile: 'c.pem',
          keyFile: 'c.key',
        },
        channelBinding: 'require',
        ignored: [],
      },
    )
  })

  it('leaves out what is not there', () => {
    const expected = {
      host: 'h',
      port: 5432,
      user: '',
      password: null,
      dbname: '',
      tls: {},
      channelBinding: null,
      ignored: [],
    }
    for (const text of ['postgres://h', 'postgresql://h/', 'postgres://@h']) {
      assert.deepEqual(parseUpstreamUrl(text), expected, text)
    }
  })

  it('knows IPv6 and Unix sockets', () => {
    assert.equal(parseUpstreamUrl('postgres://u@[::1]:5433/x').host, '::1')
    assert.equal(parseUpstreamUrl('postgres://%2Fvar%2Frun/x').host, '/var/run')
    assert.equal(parseUpstreamUrl('postgres:///x?host=/var/run').host, '/var/run')
  })

  it('takes the well-known authorities with the name checked only, as libpq', () => {
    const tls = { caFile: '', mode: 'verify-full' }
    assert.deepEqual(parseUpstreamUrl('postgres://h/x?sslrootcert=system').tls, tls)
    assert.deepEqual(parseUpstreamUrl('postgres://h/x?sslrootcert=system&sslmode=verify-full').tls, tls)
    for (const mode of ['prefer', 'require', 'verify-ca']) {
      const text = `postgres://h/x?sslrootcert=system&sslmode=${mode}`
      assert.throws(() => parseUpstreamUrl(text), /sslrootcert=system, which needs sslmode=verify-full/)
    }
  })

  it('names the parameters that it does not use', () => {
    const text = 'postgres://h/x?application_name=a&sslmode=disable&gssencmode=disable'
    assert.deepEqual(parseUpstreamUrl(text).ignored, ['application_name', 'gssencmode'])
  })

  it('refuses what it cannot keep, without repeating it', () => {
    const bad: [string, RegExp][] = [
      ['', /expects a URL/],
      ['mysql://u:hidden@h/x', /expects a URL/],
      ['h:5432', /expects a URL/],
      ['postgres://u:hid/den@h/x', /expects a URL/],
      ['postgres://u:hidden@h1:1,h2:2/x', /expects a URL/],
      ['postgres://u:hidden%zz@h/x', /two hex digits/],
      ['postgres://u:hidden@h:0/x', /a port/],
      ['postgres://u:hidden@/x', /expects a URL/],
      ['postgres:///x', /names no host/],
      ['postgres://h/x?sslmode=hidden', /disable, allow, prefer, require, verify-ca, verify-full/],
      ['postgres://h/x?sslnegotiation=hidden', /postgres, direct/],
      ['postgres://h/x?channel_binding=hidden', /disable, prefer, require/],
      ['postgres://u:p@h/x#hidden', /"#"/],
    ]
    for (const [text, wanted] of bad) {
      assert.throws(
        () => parseUpstreamUrl(text),
        (error: Error) => wanted.test(error.message) && !error.message.includes('hid'),
        text,
      )
    }
  })
})
