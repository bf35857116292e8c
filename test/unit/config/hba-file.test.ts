// pg_hba.conf and pg_ident.conf as parts of a configuration: what is read, what is included, and that each
// problem is told with its file and line, and spoils the file as a whole. Which lines are right is held
// against Postgres in test/integration/hba-files.test.ts.
import assert from 'node:assert/strict'
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { after, beforeEach, suite, test } from 'node:test'
import { ConfigError, type LoadedConfig, loadConfig } from '../../../src/config/load.ts'
import { isMapped } from '../../../src/auth/user-map.ts'
import { testCertificate } from '../../support/server-files.ts'

const { certFile, keyFile } = testCertificate()
const TLS = `  tls: { mode: allow, cert_file: ${certFile}, key_file: ${keyFile}, ca_file: ${certFile} }\n`
const LINE = 'host all all 10.0.0.0/8 md5\n'
const root = mkdtempSync(join(tmpdir(), 'pgmux-hba-'))
after(() => rmSync(root, { recursive: true, force: true }))
let folder = ''
beforeEach(() => {
  folder = mkdtempSync(join(root, 'case-'))
})

function write(files: Record<string, string | Buffer>): void {
  for (const [name, text] of Object.entries(files)) {
    mkdirSync(dirname(join(folder, name)), { recursive: true })
    writeFileSync(join(folder, name), text)
  }
}

/** Loads a configuration with these files; `hba` is named in it. */
function load(files: Record<string, string | Buffer>, more = TLS): LoadedConfig {
  const ident = 'ident' in files ? '  ident_file: ident\n' : ''
  const users = 'users: { alice: { password: x } }\n'
  write({ 'config.yaml': `client:\n  hba_file: hba\n${ident}${more}${users}`, ...files })
  return loadConfig({ file: join(folder, 'config.yaml'), env: {}, terminal: false })
}

function problems(files: Record<string, string | Buffer>, more = TLS): string[] {
  try {
    load(files, more)
  } catch (error) {
    assert.ok(error instanceof ConfigError, String(error))
    return error.problems.map((problem) => problem.replaceAll(`${folder}/`, ''))
  }
  return []
}

suite('rules', () => {
  test('a file is read into rules, and turns HBA on', () => {
    const { config, warnings } = load({
      hba: `# who comes from where
hostssl a,"all",/^b all samenet cert map=m clientname=DN
hostnossl sameuser,replication alice 10.1.0.0 255.255.0.0 trust   # for now
local all "+x" \\
      scram-sha-256
host all all ::1/128 reject
`,
      ident: 'm /^CN=(.*)$ \\1\n',
    })
    assert.deepEqual(warnings, [])
    assert.equal(config.client.auth, 'hba')
    const rules = config.client.hbaFile
    assert.deepEqual(
      rules.map(({ connection, method }) => [connection, method]),
      [
        ['hostssl', 'cert'],
        ['hostnossl', 'trust'],
        ['local', 'scram-sha-256'],
        ['host', 'reject'],
      ],
    )
    const [first, second, third, fourth] = rules
    assert.deepEqual([...(first?.databases.exact ?? [])], ['a', 'all'])
    assert.equal(first?.databases.all, false, 'a quoted word is a name')
    assert.deepEqual(
      first?.databases.patterns.map(({ source }) => source),
      ['^b'],
    )
    assert.deepEqual([first?.certMap, first?.certName, first?.clientCert], ['m', 'DN', 'verify-full'])
    assert.deepEqual([second?.databases.sameUser, second?.databases.replication], [true, true])
    assert.deepEqual(second?.from, { kind: 'network', network: [10, 1, 0, 0], mask: [255, 255, 0, 0] })
    assert.deepEqual([...(third?.users.exact ?? [])], ['+x'])
    assert.deepEqual(fourth?.from.kind === 'network' && fourth.from.mask, new Array(16).fill(255))
    assert.ok(isMapped(config.client.identFile, 'm', 'CN=alice', 'alice'))
  })

  test('other files come in at their place: include, include_if_exists, include_dir, @file', () => {
    const one = (name: string) => `host all ${name} all md5\n`
    const { config } = load({
      hba: [
        one('a'),
        'include sub/b\n',
        one('e'),
        'include_if_exists nowhere\ninclude_dir more\n',
        one('@names'),
      ].join(''),
      'sub/b': `${one('b')}include c\n`,
      'sub/c': one('c'),
      'more/2.conf': one('g'),
      'more/10.conf': one('f'),
      'more/.hidden.conf': one('x'),
      'more/other.txt': one('y'),
      'more/folder.conf/z': '',
      names: 'h, "i j" # names\n@sub/more\n',
      'sub/more': 'k\n',
    })
    assert.deepEqual(
      config.client.hbaFile.map(({ users }) => [...users.exact].join('+')),
      ['a', 'b', 'c', 'e', 'f', 'g', 'h+i j+k'],
    )
  })

  test('hostgssenc is understood and never matches; hostnogssenc is host', () => {
    const { config, warnings } = load({ hba: `hostgssenc all all all trust\nhostnogssenc all all all md5\n` })
    assert.deepEqual(
      config.client.hbaFile.map(({ connection }) => connection),
      ['host'],
    )
    assert.match(warnings.join(), /hba:1: hostgssenc never matches/)
  })

  test('what can never match, or lets nobody in, is a warning', () => {
    assert.match(
      load({ hba: 'hostssl all all all md5\n' }, '').warnings.join(),
      /hba:1: hostssl never matches/,
    )
    const files = { hba: 'hostssl all all all cert map=x\n', ident: 'y a b\n' }
    assert.match(load(files).warnings.join(), /hba:1: client.ident_file has no map "x"/)
  })
})

suite('problems', () => {
  const WRONG: [string, string, RegExp][] = [
    ['an unknown type', 'hosts all all all md5', /invalid connection type "hosts"/],
    ['a line that ends early', 'host all all', /end-of-line before IP address specification/],
    ['no method', 'host all all all', /end-of-line before authentication method/],
    ['no mask', 'host all all 10.0.0.1', /end-of-line before netmask specification/],
    ['a mask of another family', 'host all all 10.0.0.1 ::1 md5', /IP address and mask do not match/],
    ['bits that there are not', 'host all all 10.0.0.0/33 md5', /invalid CIDR mask in address/],
    ['a host name', 'host all all db.example.com md5', /"db.example.com" is not an IP address; host names/],
    ['a role', 'host all +staff all md5', /\+staff cannot be used: pgmux does not know the members of roles/],
    ['samerole', 'host samerole all all md5', /samerole cannot be used: pgmux does not know/],
    ['a method of others', 'local all all peer', /"peer" is not possible here; use trust,/],
    ['an unknown method', 'local all all sha1', /invalid authentication method "sha1"/],
    ['cert without TLS', 'host all all all cert', /only supported on hostssl connections/],
    [
      'an unknown option',
      'host all all all md5 foo=hidden',
      /unrecognized authentication option name: "foo"$/,
    ],
    ['an option without value', 'host all all all md5 hidden', /not in name=value format$/],
    ['a map for a password', 'host all all all md5 map=x', /only valid for authentication method cert/],
    ['a map without a file', 'hostssl all all all cert map=x', /map=x names a map, but client.ident_file is/],
    ['a broken pattern', 'host /( all all md5', /invalid regular expression "\(": parentheses/],
    ['a pattern that looks around', 'host /(?=a) all all md5', /\(\?= cannot be used here/],
    ['a long pattern', 'host "/(a{99}){99}" all all md5', /regular expression is too complex/],
    ['a list of methods', 'host all all all md5,trust', /multiple values specified for authentication type/],
    ['a file that is not there', 'include nowhere', /could not open file "nowhere": there is no such file/],
    ['a folder that is not there', 'include_dir nowhere', /could not open directory "nowhere"/],
    ['names that are not there', 'host all @nowhere all md5', /could not open file "nowhere"/],
    ['a file that includes itself', 'include hba', /includes go no further than 10 deep/],
    ['a zero byte', 'host all all all md5 \0', /holds a zero byte/],
  ]
  for (const [name, line, words] of WRONG) {
    test(name, () => {
      const told = problems({ hba: `${LINE}\n${line}\n${LINE}` })
      assert.equal(told.length, 1, told.join('\n'))
      assert.match(told[0] ?? '', /^hba:(3|1): /)
      assert.match(told[0] ?? '', words)
      assert.doesNotMatch(told[0] ?? '', /hidden/)
    })
  }

  test('all of them are told, in the order of the lines, in included files too', () => {
    const told = problems({
      hba: `nonsense\n${LINE}include sub/more\nhost\n`,
      'sub/more': `${LINE}rubbish\n`,
    })
    assert.deepEqual(told, [
      'hba:1: invalid connection type "nonsense"',
      'sub/more:2: invalid connection type "rubbish"',
      'hba:4: end-of-line before database specification',
    ])
  })

  test('of very many problems the first are told, and how many more there are', () => {
    const told = problems({ hba: 'nonsense\n'.repeat(100) })
    assert.ok(
      told.some((problem) => problem.includes('and 80 more problems')),
      told.join('\n'),
    )
    assert.ok(told.length < 30)
  })

  test('a list in a file may be long', () => {
    const names = Array.from({ length: 200_000 }, (_, at) => `user${at}`)
    const { config } = load({ hba: 'host all @users all md5\n', users: names.join('\n') })
    assert.equal(config.client.hbaFile[0]?.users.exact.size, names.length)
  })

  test('a file without a line, without UTF-8, too large, or not there', () => {
    assert.match(problems({}).join(), /client.hba_file: cannot read hba: there is no such file/)
    assert.match(problems({ hba: '# nothing\n' }).join(), /hba:1: contains no entries/)
    assert.match(
      problems({ hba: Buffer.from([0x23, 0xff, 0x0a]) }).join(),
      /hba_file: cannot read hba: .*UTF-8/,
    )
    assert.match(problems({ hba: Buffer.alloc(4194305, '#') }).join(), /hba_file: .*more than 4194304 bytes/)
  })

  test('certificates need the authorities that sign them', () => {
    const more = TLS.replace(/, ca_file: [^ ]*/, '')
    assert.match(problems({ hba: 'hostssl all all all cert\n' }, more).join(), /hba:1: cert needs .*ca_file/)
    const line = 'hostssl all all all md5 clientcert=verify-ca\n'
    assert.match(problems({ hba: line }, more).join(), /hba:1: clientcert=verify-ca needs .*ca_file/)
  })

  test('pg_ident.conf', () => {
    const told = problems({
      hba: LINE,
      ident: 'm a\nm /( a\nm a +b\nm /(.*) \\1\nm /^a$ \\1\nm a,b c\nm /^(.*)$ \\1\n',
    })
    assert.deepEqual(
      told.map((problem) => problem.replace(/(entry|balanced|used|enough|subexpressions|values).*/s, '$1')),
      [
        'ident:1: missing entry',
        'ident:2: invalid regular expression "(": parentheses () not balanced',
        'ident:3: +b cannot be used',
        'ident:4: regular expression "(.*)" is not plain enough',
        'ident:5: regular expression "^a$" has no subexpressions',
        'ident:6: multiple values',
      ],
    )
  })
})
