// Which line of pg_hba.conf decides, for what a test cannot reach over a socket of this machine: addresses
// from elsewhere, mapped addresses, the addresses of the machine. The rest is held against Postgres in
// test/integration/hba.test.ts.
import assert from 'node:assert/strict'
import { suite, test } from 'node:test'
import { Access, type Arrival } from '../../../src/auth/access.ts'
import { type LocalAddress, matchingRule } from '../../../src/auth/hba.ts'
import { loadConfig } from '../../../src/config/load.ts'
import type { HbaRule, TlsMode } from '../../../src/config/types.ts'
import { parseIp } from '../../../src/util/ip.ts'
import type { PeerInfo } from '../../../src/wire/byte-stream.ts'
import { hbaRules } from '../../support/hba.ts'

function from(address: string, rest: Partial<PeerInfo> & Partial<Arrival> = {}): Arrival {
  const { user = 'alice', database = 'shop', isPhysicalReplication = false, ...more } = rest
  const peer: PeerInfo = {
    kind: address === '' ? 'unix' : 'tcp',
    address,
    port: 1,
    encrypted: false,
    loopback: false,
    ...more,
  }
  return { user, database, isPhysicalReplication, peer }
}

function own(address: string, mask: string): LocalAddress {
  return { address: parseIp(address) ?? [], mask: parseIp(mask) ?? [] }
}

/** The number of the line that decides; -1: none. */
function line(rules: readonly HbaRule[], arrival: Arrival, local: readonly LocalAddress[] = []): number {
  const rule = matchingRule(rules, arrival, () => local)
  return rule === null ? -1 : rules.indexOf(rule)
}

suite('addresses', () => {
  const rules = hbaRules(
    'host all all 10.1.2.0/24 md5',
    'host all all 10.0.0.0/8 md5',
    'host all all 192.168.0.5 255.255.0.255 md5',
    'host all all 2001:db8::/33 md5',
    'host all all fe80::/10 md5',
    'host all all ::ffff:0:0/96 md5',
    'local all all md5',
  )
  const CASES: [string, number][] = [
    ['10.1.2.255', 0],
    ['10.1.3.0', 1],
    ['11.1.2.3', -1],
    ['192.168.77.5', 2],
    ['192.168.77.6', -1],
    ['2001:db8:7fff:ffff::1', 3],
    ['2001:db8:8000::1', -1],
    ['fe80::1%eth0', 4],
    ['::ffff:10.1.2.3', 0],
    ['::ffff:a01:203', 0],
    ['9.9.9.9', -1],
    ['nonsense', -1],
    ['', 6],
  ]
  for (const [address, expected] of CASES)
    test(`${address || 'Unix socket'}: line ${expected}`, () => {
      assert.equal(line(rules, from(address)), expected)
    })

  test('all means every address, also one that nobody can read, but no Unix socket', () => {
    const all = hbaRules('host all all all md5')
    assert.equal(line(all, from('nonsense')), 0)
    assert.equal(line(all, from('::1')), 0)
    assert.equal(line(all, from('')), -1)
  })

  test('samehost and samenet ask the machine, and only they do', () => {
    const local = [
      own('192.0.2.2', '255.255.255.0'),
      own('fd00::2', 'ffff:ffff::'),
      own('10.9.9.9', '0.0.0.0'),
    ]
    const rules = hbaRules('host all all samehost md5', 'host all all samenet md5', 'host all all all md5')
    assert.equal(line(rules, from('192.0.2.2'), local), 0)
    assert.equal(line(rules, from('::ffff:192.0.2.2'), local), 0)
    assert.equal(line(rules, from('192.0.2.77'), local), 1)
    assert.equal(line(rules, from('fd00:0:5::1'), local), 1)
    assert.equal(line(rules, from('fd00:1:5::1'), local), 2)
    assert.equal(line(rules, from('10.1.1.1'), local), 2, 'an empty mask is none')
    const asked = (rules: readonly HbaRule[]): boolean => {
      let isAsked = false
      matchingRule(rules, from('10.1.1.1'), () => {
        isAsked = true
        return local
      })
      return isAsked
    }
    assert.equal(asked(rules), true)
    assert.equal(asked(hbaRules('host all all 10.0.0.0/8 md5', 'host all all samehost md5')), false)
  })
})

suite('names', () => {
  test('physical replication is the keyword only; logical replication is its database', () => {
    const rules = hbaRules(
      'host "replication" all all md5',
      'host all all all md5',
      'host replication all all md5',
    )
    assert.equal(line(rules, from('10.0.0.1', { isPhysicalReplication: true })), 2)
    assert.equal(line(rules, from('10.0.0.1', { database: 'replication' })), 0)
    assert.equal(line(rules, from('10.0.0.1')), 1)
  })

  test('a name longer than Postgres takes is judged as the name that Postgres makes of it', () => {
    const long = 'x'.repeat(63)
    const rules = hbaRules(`host all ${long} all reject`, 'host all all all md5')
    assert.equal(line(rules, from('10.0.0.1', { user: `${long}y` })), 0)
    assert.equal(line(rules, from('10.0.0.1', { user: long.slice(1) })), 1)
  })

  test('a pattern sees bytes, so that . is half a letter beyond ASCII, as in Postgres', () => {
    const rules = hbaRules('host all /^b..ro$ all md5', 'host all /^b.ro$ all reject')
    assert.equal(line(rules, from('10.0.0.1', { user: 'b\u00fcro' })), 0)
  })
})

suite('what has to be shown', () => {
  const { client } = loadConfig({ env: {}, flags: {}, terminal: false }).config
  const gate = (rule: string, arrival: Arrival, mode: TlsMode = 'prefer') => {
    const rules = { ...client, auth: 'hba' as const, hbaFile: hbaRules(rule) }
    return new Access(rules, { tlsOfDatabase: () => mode, localAddresses: () => [] }).judge(arrival)
  }
  const encrypted = { encrypted: true, tls: { endPoint: null, certificate: null, certificateProblem: '' } }
  const certificate = { commonName: 'alice', distinguishedName: 'CN=alice', alternativeNames: [] }
  const shown = { encrypted: true, tls: { endPoint: null, certificate, certificateProblem: '' } }

  test('a line that trusts does so for the addresses it names, wherever they are', () => {
    const found = gate('host all all 10.0.0.0/8 trust', from('10.0.0.1'))
    assert.ok('method' in found && found.method === 'trust' && found.trustsAnywhere)
    const other = gate('host all all 10.0.0.0/8 md5', from('10.0.0.1'))
    assert.ok('method' in other && !other.trustsAnywhere)
  })

  test('the certificate of a line, and that of the mode of TLS: the stricter one', () => {
    const cases: [string, TlsMode, string][] = [
      ['md5', 'prefer', 'no'],
      ['md5', 'verify-ca', 'verify-ca'],
      ['md5 clientcert=verify-ca', 'prefer', 'verify-ca'],
      ['md5 clientcert=verify-ca', 'verify-full', 'verify-full'],
      ['md5 clientcert=verify-full', 'verify-ca', 'verify-full'],
      ['cert', 'prefer', 'verify-full'],
    ]
    for (const [options, mode, expected] of cases) {
      const found = gate(`hostssl all all all ${options}`, from('10.0.0.1', shown), mode)
      assert.ok('method' in found, options)
      assert.deepEqual([found.clientCert, found.namesUser], [expected, true], `${options} ${mode}`)
    }
  })

  test('no certificate where one is wanted is told first, also by a line that rejects', () => {
    const found = gate('hostssl all all all reject clientcert=verify-ca', from('10.0.0.1', encrypted))
    assert.ok('sqlstate' in found)
    assert.deepEqual(
      [found.sqlstate, found.message],
      ['28000', 'connection requires a valid client certificate'],
    )
  })

  test('TLS that the configuration demands is demanded whatever a line says', () => {
    const found = gate('host all all all trust', from('10.0.0.1'), 'require')
    assert.ok('sqlstate' in found && /requires TLS/.test(found.message))
  })
})
