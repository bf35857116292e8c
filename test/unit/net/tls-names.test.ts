// Tests which certificate is taken for which host with verify-full, by libpq's rules, over real handshakes;
// and that what a certificate says cannot get into a log as more than a word.
import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { serverTls } from '../../../src/net/tls-server.ts'
import { Authority, NO_OPENSSL } from '../../support/authority.ts'
import { notRun } from '../../support/postgres.ts'
import { clientTls, realPairs, secured } from './pairs.ts'

const authority = NO_OPENSSL === '' ? new Authority() : null
const pairs = realPairs('tcp')

/** '' where the certificate is taken, else why not. */
async function problem(subject: string, san: string, host: string): Promise<string> {
  const { certFile, keyFile } = (authority as Authority).issue(subject, { san })
  const { a, b } = await pairs()
  const settings = clientTls(host, { mode: 'verify-full', caFile: (authority as Authority).caFile })
  const serving = secured(b, serverTls({ certFile, keyFile }), null).catch(() => {})
  const found = await secured(a, settings, null).then(
    () => '',
    (error: Error & { isFinal?: boolean }) => {
      assert.equal(error.isFinal, true)
      return error.message
    },
  )
  await serving
  a.destroy('test over')
  b.destroy('test over')
  return found
}

describe('the host in a certificate', () => {
  const cases: [subject: string, san: string, host: string, isTaken: boolean][] = [
    ['/CN=x', 'DNS:db.example.com', 'db.example.com', true],
    ['/CN=x', 'DNS:db.example.com', 'DB.Example.COM', true],
    ['/CN=x', 'DNS:other.example.com,DNS:db.example.com', 'db.example.com', true],
    ['/CN=x', 'DNS:db.example.com', 'example.com', false],
    ['/CN=x', 'DNS:*.example.com', 'db.example.com', true],
    ['/CN=x', 'DNS:*.example.com', 'a.db.example.com', false],
    ['/CN=x', 'DNS:*.example.com', 'example.com', false],
    ['/CN=x', 'DNS:d*.example.com', 'db.example.com', false],
    ['/CN=db.example.com', '', 'db.example.com', true],
    ['/CN=*.example.com', '', 'db.example.com', true],
    ['/CN=db.example.com', 'DNS:other.example.com', 'db.example.com', false],
    ['/CN=db.example.com', 'IP:10.0.0.1', 'db.example.com', true],
    ['/CN=x', 'IP:127.0.0.1', '127.0.0.1', true],
    ['/CN=x', 'IP:127.0.0.2', '127.0.0.1', false],
    ['/CN=x', 'IP:0:0:0:0:0:0:0:1', '::1', true],
    ['/CN=x', 'DNS:127.0.0.1', '127.0.0.1', true],
    ['/CN=127.0.0.1', '', '127.0.0.1', true],
    ['/CN=127.0.0.1', 'DNS:other.example.com', '127.0.0.1', true],
    ['/CN=127.0.0.1', 'IP:10.0.0.1', '127.0.0.1', false],
    ['/CN=*.0.0.1', '', '127.0.0.1', false],
  ]
  for (const [subject, san, host, isTaken] of cases) {
    it(`${subject} ${san} is ${isTaken ? '' : 'not '}for ${host}`, async (t) => {
      if (authority === null) return notRun(t, NO_OPENSSL)
      const said = await problem(subject, san, host)
      if (isTaken) assert.equal(said, '')
      else assert.match(said, /^TLS failed: its certificate is for ".*", which does not match host name "/)
    })
  }

  it('is repeated short, on one line', async (t) => {
    if (authority === null) return notRun(t, NO_OPENSSL)
    const names = Array.from({ length: 40 }, (_, i) => `DNS:host${i}.example.com`).join(',')
    const long = await problem('/CN=x', names, 'localhost')
    assert.ok(long.length < 350, long)
    const odd = await problem('/CN=line\nbreak \u001b[2J', '', 'localhost')
    // biome-ignore lint/suspicious/noControlCharactersInRegex: these are what must not be there
    assert.doesNotMatch(odd, /[\u0000-\u001f]/)
  })
})
