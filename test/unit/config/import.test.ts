// pgbouncer.ini as PgBouncer reads it, and what it becomes: values, quotes, sections, places of errors, and
// that any file that is taken makes a configuration that loads.
import assert from 'node:assert/strict'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, describe, it } from 'node:test'
import fc from 'fast-check'
import { importIni } from '../../../src/config/import/import.ts'
import { ImportError, readIni, readPairs } from '../../../src/config/import/ini.ts'
import { SETTINGS } from '../../../src/config/import/settings.ts'
import { readPgbouncerUsers } from '../../../src/config/import/userlist.ts'
import { durationOf, readAtoi, readInteger, readSeconds } from '../../../src/config/import/values.ts'
import { type LoadedConfig, loadConfig } from '../../../src/config/load.ts'

const folder = mkdtempSync(join(tmpdir(), 'pgmux-import-'))
after(() => rmSync(folder, { recursive: true }))
let count = 0

function write(text: string, name = `${++count}.ini`): string {
  writeFileSync(join(folder, name), text)
  return join(folder, name)
}

/** What becomes of a file, loaded. */
function imported(text: string): LoadedConfig & { yaml: string; said: readonly string[] } {
  const { yaml, warnings } = importIni(write(text))
  const file = write(yaml, `${count}.yaml`)
  return { ...loadConfig({ file, env: {}, terminal: false }), yaml, said: warnings }
}

/** The one sentence about a broken file, without the folder. */
function complaint(text: string): string {
  try {
    importIni(write(text))
  } catch (error) {
    assert.ok(error instanceof ImportError, String(error))
    assert.doesNotMatch(error.message, /\n/)
    return error.message.replaceAll(`${folder}/${count}.ini`, 'x.ini').replaceAll(`${folder}/`, '')
  }
  assert.fail('the file was taken')
}

const entries = (text: string) =>
  readIni('x', () => ({ text })).map(({ name, value, place }) => [place, name, value])

describe('the text of an ini', () => {
  it('comments where something could begin, values to the end of the line, sections anywhere', () => {
    assert.deepEqual(
      entries('; a\n # b\n[one] x = 1 ; no comment\t \n\n[two];c\n  y=a = b\r\n*=\n=\nz\t=\v2'),
      [
        ['x:3', 'one', ''],
        ['x:3', 'x', '1 ; no comment'],
        ['x:5', 'two', ''],
        ['x:6', 'y', 'a = b'],
        ['x:7', '*', ''],
        ['x:8', '', ''],
        ['x:9', 'z', '\v2'],
      ],
    )
  })

  it('names in quotes, and a zero byte that ends it', () => {
    assert.deepEqual(entries('"my ""db""" = host=a\n\0junk'), [['x:1', 'my "db"', 'host=a']])
  })

  it('pairs: spaces around =, quotes, one character behind a quote is passed over', () => {
    const pairs = (text: string) => readPairs(text, 'x:1')
    assert.deepEqual(pairs("host = a  port= 5 p='it''s = ''' q=a'b r='x',s=1\t2"), [
      ['host', 'a'],
      ['port', '5'],
      ['p', "it's = '"],
      ['q', "a'b"],
      ['r', 'x'],
      ['s', '1\t2'],
    ])
    for (const wrong of ['host', 'host=', "host=''", "host='a", "host='a''", '=a', 'a=b c'])
      assert.throws(() => pairs(wrong), /x:1: expects pairs/)
  })

  it('numbers as C reads them', () => {
    assert.deepEqual(
      ['10', '0x10', '010', '-3', '0', '08', '1.5', 'yes', '', '99999999999'].map(readInteger),
      [10, 16, 8, -3, 0, null, null, null, null, null],
    )
    assert.deepEqual(['5x', 'x', ' 7', '-2', '08'].map(readAtoi), [5, 0, 7, -2, 8])
    assert.deepEqual(['1.5', '1e1', '.5', '-1', '5s', ''].map(readSeconds), [
      1500,
      10_000,
      500,
      null,
      null,
      null,
    ])
    assert.deepEqual([0, 0.1, 1500, 60_000, 1e15].map(durationOf), [
      '0',
      '1ms',
      '1500ms',
      '60s',
      '2147483647ms',
    ])
  })

  it('the list of users: the last of a name, no further than a broken line', () => {
    const text = '"a" "1"\n"a" "2"\n"b"\n"3" rest\n  ; c\n"c" x "f""u"\n"e""f""g"\n# x\n"z" "six"\n"q"'
    const { users, brokenLine } = readPgbouncerUsers(text)
    assert.deepEqual(Object.fromEntries(users), { a: '2', b: '3', c: 'f"u', 'e"f"g': 'z' })
    assert.equal(brokenLine, 10)
    assert.equal(readPgbouncerUsers('"a" "1"\n\n').brokenLine, 0)
  })
})

describe('a broken file is one sentence with its place', () => {
  const CASES: [string, string][] = [
    ['[pgbouncer]\npool_mode transaction\n', 'x.ini:2: expects "key = value", a [section], or a comment'],
    ['[pgbouncer]\npool_size = 3\n', 'x.ini:2: pool_size: unknown setting, did you mean "pool_mode"?'],
    ['[pgbouncer]\npool_mode = fast\n', 'x.ini:2: pool_mode: expects one of session, transaction, statement'],
    ['[pgbouncer]\n\nmax_client_conn = many\n', 'x.ini:3: max_client_conn: expects a whole number'],
    ['[pgbouncer]\nquery_timeout = 5s\n', 'x.ini:2: query_timeout: expects seconds'],
    ['[pgbouncer\n', 'x.ini:1: this [ has no ]'],
    ['[database]\n', 'x.ini:1: [database]: unknown section, did you mean "databases"?'],
    ['[databases]\n', 'x.ini:1: has no section [pgbouncer]'],
    ['pool_mode = session\n', 'x.ini:1: pool_mode: no [section] stands above it'],
    ['[pgbouncer]\n%include nowhere.ini\n', 'x.ini:2: cannot read nowhere.ini: there is no such file'],
    [
      '[databases]\npgbouncer = host=a\n[pgbouncer]',
      'x.ini:2: the database name "pgbouncer" is the console\'s',
    ],
    ['[databases]\na = host=b port=x\n[pgbouncer]', 'x.ini:2: port: expects a number from 1 to 65535'],
    ['[pgbouncer]\nlisten_port = -1', 'x.ini:2: listen_port: expects a number from 0 to 65535'],
    ['[pgbouncer]\nauth_type = hba\n', 'x.ini:2: auth_type hba needs auth_hba_file'],
    ['[pgbouncer]\n[peers]\nx = host=a\n', 'x.ini:3: a peer has a number, from 1 to 65535'],
  ]
  for (const [text, expected] of CASES) it(expected, () => assert.equal(complaint(text), expected))

  it('nothing of a password is shown', () => {
    const said = complaint("[databases]\na = host=b password=hush 'hush=1 hushhush=2\n[pgbouncer]\n")
    assert.doesNotMatch(said, /hush/)
    const { yaml, said: warnings } = imported(
      '[pgbouncer]\n[databases]\na = host=b,c password=hush auth_user=x\n',
    )
    assert.equal(yaml.match(/hush/g)?.length, 1)
    assert.doesNotMatch(warnings.join(), /hush/)
  })

  it('files that include themselves', () => {
    const file = write('[pgbouncer]\n', 'circle.ini')
    writeFileSync(file, `[pgbouncer]\n%include ${file}\n`)
    assert.throws(() => importIni(file), /circle\.ini:2: includes go no further than 10 deep/)
  })
})

describe('what a file becomes', () => {
  it('the defaults of PgBouncer, where it says nothing', () => {
    const { config } = imported('[pgbouncer]\n[databases]\nd =\n')
    assert.equal(config.pool.mode, 'session')
    assert.equal(config.client.auth, 'md5')
    assert.equal(config.client.maxConnections, 100)
    assert.equal(config.client.loginTimeoutMs, 60_000)
    assert.equal(config.client.waitNoticeMs, 5000)
    assert.equal(config.upstream.connectTimeoutMs, 15_000)
    assert.equal(config.listen.unixSocketDir, '/tmp')
    assert.deepEqual([config.log.connections, config.log.disconnections], [true, true])
    assert.equal(config.databases.get('d')?.host, '/tmp')
    assert.equal(config.serverless.host, '')
  })

  it('zeros that mean something else', () => {
    const zeros =
      'default_pool_size=0\nserver_lifetime=0\nserver_check_delay=0\nmax_client_conn=0\nlog_stats=0\n'
    const { pool, client, log } = imported(
      `[pgbouncer]\n${zeros}tcp_keepalive=0\n[databases]\na=host=b\n`,
    ).config
    assert.deepEqual([pool.size, pool.serverLifetimeMs, pool.serverCheckDelayMs], [100_000, 1, 1])
    assert.deepEqual([client.maxConnections, log.statsPeriodMs], [1, 0])
    const off = imported('[pgbouncer]\nserver_check_query =\n').config
    assert.equal(off.pool.serverCheckDelayMs, 0)
  })

  it('a second [pgbouncer] begins again, the last word on a key counts', () => {
    const { config } = imported(
      '[pgbouncer]\nlisten_port=1\n[databases]\na=host=x\na=host=y pool_size=3 min_pool_size=9\n' +
        '[pgbouncer]\npool_mode=Statement\nquery_timeout = 1\nquery_timeout = 0.5\n',
    )
    assert.equal(config.listen.port, 6432)
    assert.equal(config.pool.mode, 'statement')
    assert.equal(config.client.queryTimeoutMs, 500)
    assert.deepEqual([config.databases.get('a')?.host, config.databases.get('a')?.minPoolSize], ['y', 3])
  })

  it('a user of the database: all clients together have the servers of one pool', () => {
    const of = (keys: string) =>
      imported(
        `[pgbouncer]\ndefault_pool_size=7\nreserve_pool_size=2\n[databases]\na=host=b ${keys}\n`,
      ).config.databases.get('a')?.maxServers
    assert.deepEqual(['user=x', 'user=x pool_size=3', 'user=x max_db_connections=5', 'pool_size=3'].map(of), [
      9,
      5,
      5,
      undefined,
    ])
  })

  it('auth_user of all databases is the one that asks, of some of them it is missed', () => {
    const { config, said, yaml } = imported(
      '[pgbouncer]\nauth_query = select 1, $1\n[databases]\n' +
        'a = host=x auth_user=ask\nb = host=y auth_user=ask\n',
    )
    assert.deepEqual([config.client.authQuery.user, config.client.authQuery.query], ['ask', 'select 1, $1'])
    assert.doesNotMatch(said.join() + yaml.split('# Without')[1], /auth_user|auth_query/)
    const some = imported('[pgbouncer]\n[databases]\na = host=x auth_user=ask\nb = host=y\n')
    assert.equal(some.config.client.authQuery.user, '')
    assert.match(some.said.join(), /:3: databases\.a: auth_user: one for all/)
  })

  it('names and values that YAML and variables would read otherwise', () => {
    const password = 'a: \'#${HOME} $${x} *&!%@`\\n"{[|>'
    const quoted = password.replaceAll("'", "''")
    const { config } = imported(
      `[pgbouncer]\nadmin_users = yes\n[databases]\n1e3 = host=no user=null password='${quoted}'\n` +
        `"a: b # c" = host=h\n` +
        `true = host=0x1f connect_query='set "a" to ''b''; -- x'\n`,
    )
    assert.deepEqual(config.admin.users, ['yes'])
    assert.deepEqual([...config.databases.keys()], ['1e3', 'a: b # c', 'true'])
    assert.equal(config.databases.get('1e3')?.password, password)
    assert.equal(config.databases.get('1e3')?.user, 'null')
    assert.equal(config.databases.get('true')?.connectQuery, `set "a" to 'b'; -- x`)
  })

  it('a list of users that both read alike is named, another one is written out', () => {
    const same = write('"a" "one"\n', 'same.txt')
    const ini = (list: string) => `[pgbouncer]\nauth_file = ${list}\n[users]\nb = pool_mode=session\n`
    assert.match(imported(ini(same)).yaml, /users_file: '.*same\.txt'/)
    const twice = write('"a" "one"\n"a" "two"\n"b" "md5f6fdffe48c908deb0f4c3bd36c032e72"\n', 'twice.txt')
    const { yaml, config } = imported(ini(twice))
    assert.doesNotMatch(yaml, /users_file/)
    assert.equal(config.users.get('a')?.secret, 'two')
    assert.equal(config.users.get('b')?.poolMode, 'session')
  })

  it('what is missed is said, what is not needed stands at the end', () => {
    const { yaml, warnings } = importIni(
      write(
        '[pgbouncer]\nlisten_addr = *\nauth_type = any\nso_reuseport = 1\n' +
          'server_reset_query = DISCARD TEMP\npeer_id = 3\n' +
          '[databases]\na = host=x,y timezone=UTC\n[peers]\n1 = host=z\n',
      ),
    )
    const said = warnings.join('\n')
    for (const text of [
      /:3: auth_type any lets everybody/,
      /:4: so_reuseport/,
      /:8: databases\.a: timezone/,
      /:8: .*first/,
    ])
      assert.match(said, text)
    assert.doesNotMatch(said, /peer|reset_query/)
    const [, end = ''] = yaml.split('# Without a key here:')
    for (const text of ['server_reset_query = DISCARD TEMP', 'peer_id = 3', '[peers] 1', 'timezone = UTC'])
      assert.ok(end.includes(text), text)
  })
})

const value = fc.oneof(
  fc.constantFrom(
    '0',
    '1',
    '5',
    '-1',
    '0x1F',
    '010',
    '1.5',
    '1e3',
    'session',
    'Transaction',
    'require',
    'md5',
    '*',
    '',
  ),
  fc.string(),
)
const line = fc.oneof(
  fc.tuple(fc.constantFrom(...SETTINGS.keys()), value).map(([name, text]) => `${name} = ${text}`),
  fc.constantFrom(
    '[pgbouncer]',
    '[databases]',
    '[users]',
    '[peers]',
    '; x',
    '%include x',
    '"q""" = host=x',
    '* =',
  ),
  fc
    .tuple(
      fc.stringMatching(/^[\w.*-]{0,8}$/),
      fc.constantFrom('host', 'user', 'password', 'pool_size', 'pool_mode'),
      fc.string(),
    )
    .map(([name, key, text]) => `${name} = ${key}='${text.replaceAll("'", "''")}' port=1`),
  fc.string(),
)

describe('any text', () => {
  it('is refused in one sentence with its place, or becomes a configuration whose shape is right', () => {
    let taken = 0
    const file = join(folder, 'fuzz.ini')
    fc.assert(
      fc.property(fc.array(line, { maxLength: 8 }), (lines) => {
        writeFileSync(file, `[pgbouncer]\n${lines.join('\n')}\n`)
        let yaml = ''
        try {
          yaml = importIni(file).yaml
        } catch (error) {
          assert.ok(error instanceof ImportError, String((error as Error).stack))
          assert.match(error.message, /^.*fuzz\.ini:\d+: [^\n]+$/)
          return
        }
        taken++
        const problems = problemsOf(yaml)
        assert.deepEqual(problems, [], yaml)
      }),
      { numRuns: 1500 },
    )
    assert.ok(taken > 100, `${taken} were taken`)
  })

  it('of pairs is read or refused, and what is read comes back when it is written', () => {
    fc.assert(
      fc.property(
        fc.array(fc.tuple(fc.stringMatching(/^[a-z_]{1,5}$/), fc.string({ minLength: 1 })), { maxLength: 5 }),
        (pairs) => {
          const text = pairs.map(([key, each]) => `${key} = '${each.replaceAll("'", "''")}'`).join(' ')
          assert.deepEqual(readPairs(text, 'x:1'), pairs)
        },
      ),
    )
  })
})

/**
 * What the loader has against the shape; that files or hosts are missing on this machine is another matter.
 */
function problemsOf(yaml: string): string[] {
  try {
    loadConfig({ file: write(yaml, 'fuzz.yaml'), env: {}, terminal: false })
    return []
  } catch (error) {
    const lines = (error as Error).message.split('\n')
    return lines.filter(
      (each) =>
        !/cannot read|is needed for|needs TLS|lets everybody in|needs its|names no address/.test(each),
    )
  }
}
