// The command as its users start it, with mistakes in what it is given: it ends at once, with an exit code
// and one clear sentence, never with a stack trace.
import assert from 'node:assert/strict'
import { chmodSync, copyFileSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { createServer } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, suite, test } from 'node:test'
import { fileURLToPath } from 'node:url'
import { parseArguments } from '../../src/cli/arguments.ts'
import { check } from '../../src/cli/check.ts'
import { ConfigError } from '../../src/config/load.ts'
import { getPostgres } from '../support/postgres.ts'
import { type Outcome, runProgram } from '../support/programs.ts'
import { testCertificate } from '../support/server-files.ts'
import { type LoginError, WireClient } from '../support/wire-client.ts'

const BIN = fileURLToPath(new URL('../../bin/pgmux.js', import.meta.url))
const SECRET = 'do-not-print-me'
const folder = mkdtempSync(join(tmpdir(), 'pgmux-config-'))
after(() => rmSync(folder, { recursive: true, force: true }))
/** Nothing of the environment that runs the tests. */
const NONE = { PGMUX_CONFIG: '', DATABASE_URL: '' }
let files = 0

function write(text: string, name = `${++files}.yaml`): string {
  const path = join(folder, name)
  writeFileSync(path, text)
  return path
}

function pgmux(args: string[], env: Record<string, string> = {}): Promise<Outcome> {
  return runProgram(process.execPath, [BIN, ...args], {
    env: { ...NONE, ...env },
    limit: 20_000,
    cwd: folder,
  })
}

/** It ended by itself, unsuccessfully, with words for people. @returns what it said, on one line */
function complaint({ code, signal, stdout, stderr }: Outcome): string {
  assert.equal(signal, null, `it had to be killed: ${stdout}${stderr}`)
  assert.ok(code === 1 || code === 2, `exit code ${code}: ${stdout}${stderr}`)
  assert.doesNotMatch(stderr, /^\s+at /m, 'a stack trace')
  assert.doesNotMatch(stderr, /node:internal|Error:/)
  assert.ok(!stdout.includes(SECRET) && !stderr.includes(SECRET), 'a secret is shown')
  assert.equal(stdout, '', 'nothing was announced')
  const lines = stderr.trimEnd().split('\n')
  assert.ok(lines.length <= 2 && stderr.length < 600, stderr)
  return lines[0] ?? ''
}

const UPSTREAM = `upstream:\n  url: postgres://app:${SECRET}@127.0.0.1:5432/app\n`

const FILES: [string, string, RegExp][] = [
  ['a typo in a key', `${UPSTREAM}pool:\n  siz: 5\n`, /:4: pool\.siz: unknown key, did you mean "size"/],
  ['a wrong type', `${UPSTREAM}pool:\n  size: many\n`, /:4: pool\.size: expects a whole number/],
  ['a number out of range', `${UPSTREAM}listen:\n  port: 70000\n`, /listen\.port: expects/],
  ['an unknown section', `${UPSTREAM}zebra: 1\n`, /zebra: unknown key/],
  [
    'a duration without a unit',
    `${UPSTREAM}pool:\n  server_lifetime: 30\n`,
    /expects a duration with a unit/,
  ],
  ['broken YAML', 'pool: [\n', /\.yaml:\d+/],
  ['a tab for an indent', 'pool:\n\tsize: 5\n', /\.yaml:\d+/],
  ['a list at the top', '- pool\n', /./],
  ['a variable that is not set', 'upstream:\n  password: $' + '{PGMUX_NOT_THERE}\n', /PGMUX_NOT_THERE/],
  [
    'a bad URL',
    `upstream:\n  url: mysql://app:${SECRET}@127.0.0.1/app\n`,
    /upstream\.url .*|upstream\.url: /,
  ],
  ['URL and keys at once', `${UPSTREAM}  host: elsewhere\n`, /stands beside "url"/],
  ['trust for the whole network', `${UPSTREAM}listen:\n  host: 0.0.0.0\nclient:\n  auth: trust\n`, /trust/],
  [
    'a certificate that is not there',
    `${UPSTREAM}client:\n  tls:\n    mode: require\n    cert_file: nowhere.crt\n    key_file: nowhere.key\n`,
    /nowhere\.crt/,
  ],
  ['TLS without a certificate', `${UPSTREAM}client:\n  tls:\n    mode: require\n`, /cert_file|key_file/],
  ['a user list that is not there', `${UPSTREAM}client:\n  users_file: nowhere.txt\n`, /nowhere\.txt/],
  [
    'a password file that is not there',
    'upstream:\n  host: 127.0.0.1\n  password_file: nowhere\n',
    /nowhere/,
  ],
]

suite('the command', () => {
  for (const [name, text, expected] of FILES) {
    test(name, async () => {
      // In this process: those below show that the command says what is thrown here.
      const path = write(text)
      await assert.rejects(
        check(parseArguments(['check', '--config', path])),
        (error: Error) =>
          error instanceof ConfigError && expected.test(error.message) && !error.message.includes(SECRET),
      )
    })
  }

  test('run says what check says, before it starts anything', async () => {
    for (const [, text, expected] of FILES.filter((_one, at) => at % 5 === 0)) {
      const path = write(text)
      const [checked, ran] = await Promise.all([
        pgmux(['check', '--config', path]),
        pgmux(['run', '--config', path]),
      ])
      assert.match(complaint(checked), expected)
      assert.equal(complaint(ran), complaint(checked))
    }
  })

  test('a user list with a broken line is told by its line, without what stands there', async () => {
    const users = write(`"good" "x"\n"app" ${SECRET}\n`, 'broken.txt')
    const said = complaint(await pgmux(['check', '--config', write(`client:\n  users_file: ${users}\n`)]))
    assert.match(said, /broken\.txt:2|broken\.txt.*line 2/)
  })

  test('files of the endpoint for WebSocket and HTTP that cannot be used', async () => {
    const { certFile } = testCertificate()
    write('{"keys": []}', 'no-keys.json')
    const rules = 'issuer: i, audience: a, roles: r'
    for (const [section, expected] of [
      [
        'tls: { cert_file: gone.crt, key_file: gone.key }',
        /serverless\.tls\.cert_file: cannot read gone\.crt/,
      ],
      [`tls: { cert_file: ${certFile}, key_file: no-keys.json }`, /no-keys\.json holds no PEM key/],
      [`jwt: { jwks_file: no-keys.json, ${rules} }`, /cannot use the keys in .*no-keys\.json/],
    ] as const) {
      const path = write(`${UPSTREAM}serverless:\n  ${section}\n`)
      assert.match(complaint(await pgmux(['check', '--config', path])), expected)
    }
  })

  test('a key that belongs to another certificate', async () => {
    const { certFile } = testCertificate()
    const key = write('-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n', 'other.key')
    const tls = `client:\n  tls:\n    mode: require\n    cert_file: ${certFile}\n    key_file: ${key}\n`
    const path = write(UPSTREAM + tls)
    for (const command of ['check', 'run']) {
      const said = complaint(await pgmux([command, '--config', path]))
      assert.equal(said, `pgmux: ${key} holds no PEM key without a passphrase`)
    }
  })

  const ARGUMENTS: [string[], RegExp][] = [
    [['--config', 'nowhere.yaml'], /nowhere\.yaml/],
    [['--pool-sise', '5'], /--pool-sise/],
    [['rum'], /"rum" is no command/],
    [['status', 'a', 'b'], /"b" is one argument too many/],
    [['top', '--json'], /--json belongs to the command status/],
    [['--pool-size', 'many'], /pool.?size.*many/],
    [['--mode', 'transactoin'], /transaction/],
    [['--upstream', `http://app:${SECRET}@host/db`], /expects a URL/],
    [['--upstream'], /--upstream/],
    [['--listen', 'nonsense'], /listen/],
    [['--connect'], /check/],
    [['--allow-remote'], /tunnel/],
    [['tunnel'], /ws:\/\//],
    [['tunnel', `http://app:${SECRET}@127.0.0.1:6480/`], /ws:\/\/ or wss:\/\//],
    [['tunnel', 'ws://127.0.0.1:6480/', 'more'], /"more" is one argument too many/],
    [['tunnel', 'ws://127.0.0.1:6480/', '--pool-size', '5'], /--pool-size does not belong/],
    [['tunnel', 'ws://127.0.0.1:6480/', '--listen', '5433'], /--listen: expects HOST:PORT/],
    [['tunnel', 'ws://127.0.0.1:6480/', '--listen', '0.0.0.0:5433'], /other machines.*--allow-remote/],
  ]
  for (const [args, expected] of ARGUMENTS) {
    test(`pgmux ${args.join(' ').replace(SECRET, '...')}`, async () => {
      assert.match(complaint(await pgmux(args)), expected)
    })
  }

  test('an environment variable with a mistake is named', async () => {
    const run = (env: Record<string, string>) => pgmux(['check'], env)
    assert.match(complaint(await run({ PGMUX_POOL_SIZE: 'many' })), /PGMUX_POOL_SIZE/)
    assert.match(complaint(await run({ DATABASE_URL: `mysql://x:${SECRET}@y/z` })), /DATABASE_URL/)
  })

  test('a port that is taken, for clients, for the admin port, for WebSocket and HTTP', async () => {
    const taken = createServer()
    await new Promise<void>((resolve) => taken.listen(0, '127.0.0.1', resolve))
    const address = taken.address()
    const at = `127.0.0.1:${typeof address === 'object' ? address?.port : ''}`
    const upstream = ['--upstream', `postgres://app:${SECRET}@127.0.0.1:1/app`]
    const [clients, admin, web] = await Promise.all([
      pgmux([...upstream, '--listen', at, '--admin', 'off', '--serverless', 'off']),
      pgmux([...upstream, '--listen', '127.0.0.1:0', '--admin', at, '--serverless', 'off']),
      pgmux([...upstream, '--listen', '127.0.0.1:0', '--admin', 'off', '--serverless', at]),
    ])
    taken.close()
    for (const outcome of [clients, admin, web]) {
      const said = complaint(outcome)
      assert.match(said, /in use|taken/)
      assert.ok(said.includes(at.split(':')[1] ?? '-'), said)
    }
  })

  test('check --connect says what Postgres says', async () => {
    const nobody = await pgmux([
      'check',
      '--connect',
      '--upstream',
      `postgres://app:${SECRET}@127.0.0.1:1/app`,
    ])
    assert.equal(nobody.code, 1)
    assert.match(nobody.stdout, /could not connect to Postgres at 127\.0\.0\.1:1: .*refused/)
    assert.ok(!`${nobody.stdout}${nobody.stderr}`.includes(SECRET))
  })
})

suite('the command, rightly configured', () => {
  test('check --connect, then run with a file, a user list, TLS; and a clean end', async () => {
    const postgres = await getPostgres()
    const users = write(`; a comment\n"${postgres.user}" "${postgres.password}"\n`, 'userlist.txt')
    chmodSync(users, 0o600)
    const { certFile, keyFile } = testCertificate()
    copyFileSync(certFile, join(folder, 'server.crt'))
    const path = write(
      [
        'listen: { host: 127.0.0.1, port: 0 }',
        'admin: { port: 0 }',
        'serverless: { port: 0 }',
        `client: { users_file: ${users}, tls: { mode: allow, cert_file: server.crt, key_file: ${keyFile} } }`,
        `upstream: { host: ${postgres.host}, port: ${postgres.port} }`,
        'log: { format: json }',
      ].join('\n'),
    )
    const checked = await pgmux(['check', '--connect', '--config', path])
    assert.equal(checked.code, 0, checked.stdout + checked.stderr)
    assert.match(checked.stdout, /is valid[\s\S]*connected, Postgres \d+.* a pool of \d+ fits/)
    const large = await pgmux(['check', '--connect', '--config', path, '--pool-size', '9000'])
    assert.equal(large.code, 0, 'a pool that may be too large is no failure')
    assert.match(large.stdout, /^warning: .* a pool of 9000 is more than these \d+ connections: lower/m)
    const strict = await pgmux(['check', '--connect', '--config', path], {
      PGMUX_UPSTREAM_TLS_MODE: 'verify-full',
    })
    assert.equal(strict.code, 1)
    assert.match(strict.stdout, /Postgres does not support TLS, which upstream\.tls\.mode requires/)
    let said = ''
    let stop = () => {}
    const announced = Promise.withResolvers<number>()
    const ended = runProgram(process.execPath, [BIN, 'run', '--config', path], {
      env: NONE,
      cwd: folder,
      onStart: (child) => {
        stop = () => child.kill('SIGTERM')
      },
      onOutput: (piece) => {
        said += piece.toString()
        const port = /clients: 127\.0\.0\.1:(\d+)/.exec(said)?.[1]
        if (port !== undefined && said.includes('connect: ')) announced.resolve(Number(port))
      },
    })
    void ended.then(({ stdout, stderr }) => announced.reject(new Error(stdout + stderr)))
    const to = {
      host: '127.0.0.1',
      port: await announced.promise,
      user: postgres.user,
      database: postgres.database,
    }
    for (const ssl of [false, 'request'] as const) {
      await using client = await WireClient.connect({ ...to, ssl, password: postgres.password })
      assert.deepEqual((await client.query('select 1')).rows, [['1']])
    }
    const web = { port: Number(/serverless: ws:\/\/127\.0\.0\.1:(\d+) /.exec(said)?.[1]) }
    await using overWeb = await WireClient.connect({ ...to, web, password: postgres.password })
    assert.deepEqual((await overWeb.query('select 2')).rows, [['2']])
    await assert.rejects(
      WireClient.connect({ ...to, password: 'wrong' }),
      (error: LoginError) => error.code === '28P01',
    )
    stop()
    const { code, stdout, stderr } = await ended
    assert.equal(code, 0, stdout + stderr)
    assert.ok(!`${stdout}${stderr}`.includes(postgres.password), 'the password is not shown')
  })
})
