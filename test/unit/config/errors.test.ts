// What is wrong with a configuration is said all at once, with its place and a way out, and without secrets.

import assert from 'node:assert/strict'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, describe, it } from 'node:test'
import { ConfigError, type Flags, loadConfig } from '../../../src/config/load.ts'

const folder = mkdtempSync(join(tmpdir(), 'pgmux-errors-'))
after(() => rmSync(folder, { recursive: true }))

interface Given {
  env?: Record<string, string>
  flags?: Flags
}

/** The lines of the error, with `config.yaml` for the full name of the file. */
function problemsOf(yaml: string, { env = {}, flags = {} }: Given = {}): string[] {
  const file = join(folder, 'config.yaml')
  writeFileSync(file, yaml)
  try {
    loadConfig({ file, env, flags })
  } catch (error) {
    assert.ok(error instanceof ConfigError, String(error))
    assert.equal(error.message, error.problems.join('\n'))
    return error.problems.map((problem) => problem.replaceAll(`${folder}/`, ''))
  }
  return []
}

describe('shape', () => {
  it('lists everything that is wrong, by line', () => {
    const yaml = [
      'pool:',
      '  siz: 1',
      '  size: many',
      '  min_size:',
      '  server_lifetime: 30',
      '  mode: transactoin',
      'client: 5',
      'listen:',
      '  unix_socket_mode: 0777',
      'zebra: 1',
      'databases:',
      '  pgbouncer: {}',
      '  app: { pool_sise: 1, port: 70000 }',
      'log: [1]',
    ].join('\n')
    assert.deepEqual(problemsOf(yaml), [
      'config.yaml:2: pool.siz: unknown key, did you mean "size"?',
      'config.yaml:3: pool.size: expects a whole number from 1 to 100000, not "many"',
      'config.yaml:4: pool.min_size: has no value; give one, or remove the line',
      'config.yaml:5: pool.server_lifetime: expects a duration with a unit, like "250ms", "30s", ' +
        '"5m" or "1h"; add one, not 30',
      'config.yaml:6: pool.mode: expects one of session, transaction, statement, did you mean "transaction"?',
      'config.yaml:7: client: expects keys and values, indented below it',
      "config.yaml:9: listen.unix_socket_mode: expects three octal digits in quotes, like '0777', not 777",
      'config.yaml:10: zebra: unknown key; known here: workers, worker_timeout, ' +
        'listen, client, upstream, pool, session, ' +
        'databases, users, serverless, admin, log, tracing, embedded, shutdown',
      'config.yaml:12: databases.pgbouncer: this name is the console; use another, with "dbname" ' +
        'for the name in Postgres',
      'config.yaml:13: databases.app.port: expects a whole number from 1 to 65535, not 70000',
      'config.yaml:13: databases.app.pool_sise: unknown key, did you mean "pool_size"?',
      'config.yaml:14: log: expects keys and values, indented below it',
    ])
  })

  it('names the variable or flag, not the file', () => {
    const env = { PGMUX_POOL_SIZE: 'x', PGMUX_CLIENT_QUERY_TIMEOUT: '5', PGMUX_EMBEDDED_EPHEMERAL: 'maybe' }
    const problems = problemsOf('pool: { size: 1 }', { env, flags: { listen: '6432', mode: 'fast' } })
    assert.deepEqual(problems, [
      '--listen: expects HOST:PORT, like "127.0.0.1:6432" or "[::1]:6432"',
      'PGMUX_CLIENT_QUERY_TIMEOUT: expects a duration with a unit, like "250ms", "30s", "5m" or ' +
        '"1h"; add one, not "5"',
      '--mode: expects one of session, transaction, statement, not "fast"',
      'PGMUX_POOL_SIZE: expects a whole number from 1 to 100000, not "x"',
      'PGMUX_EMBEDDED_EPHEMERAL: expects true or false, not "maybe"',
    ])
  })

  it('says what is wrong with the YAML', () => {
    assert.deepEqual(problemsOf('pool:\n  size: 1\n  size: 2\n'), [
      'config.yaml:3: this key stands here twice, remove one',
    ])
    assert.deepEqual(problemsOf('pool:\n\tsize: 1\n'), [
      'config.yaml:2: bad YAML: a tab cannot be used as indentation, use spaces',
    ])
    assert.match(problemsOf('a: [1\nb: 2').join(), /^config\.yaml:\d: bad YAML: /)
    assert.match(problemsOf('- 1\n').join(), /expects sections/)
    assert.match(problemsOf('pool: *x\n').join(), /config\.yaml:1: this alias has no anchor/)
    assert.match(problemsOf('? [a]\n: 1\n').join(), /a key must be a plain name/)
    assert.match(problemsOf('a: &a [*a]').join(), /more than 100 aliases/)
    assert.match(problemsOf('__proto__: 1\n').join(), /a key must be a plain name/)
  })

  it('says that there is no file', () => {
    const flags = { config: join(folder, 'nope.yaml') }
    const wanted = { message: `${flags.config}: cannot be read: there is no such file` }
    assert.throws(() => loadConfig({ flags, env: {} }), wanted)
  })

  it('says which variable is missing, once', () => {
    assert.deepEqual(
      problemsOf('pool:\n  size: ${N}\n  query_wait_timeout: ${T\nusers:\n  a: { password: "${P}" }'),
      [
        'config.yaml:2: pool.size: the environment variable N is not set; set it or write ${N:-default}',
        'config.yaml:3: pool.query_wait_timeout: expects ${NAME} or ${NAME:-default}; write $${ ' +
          'for ${ itself',
        'config.yaml:5: users.a.password: the environment variable P is not set; set it or write ' +
          '${P:-default}',
      ],
    )
  })
})

describe('rules between keys', () => {
  const cases: [string, string, string[]][] = [
    [
      'trust on an open address',
      'client:\n  auth: trust\nlisten:\n  host: 0.0.0.0\n',
      [
        'config.yaml:2: client.auth: trust lets everybody in who can connect, so it needs a ' +
          'listen.host such as 127.0.0.1',
      ],
    ],
    [
      'an upstream without password on an open address',
      'upstream:\n  url: postgres://u@h/d\nlisten:\n  host: "::"\n',
      [
        'config.yaml:4: listen.host: other machines could connect without a password, because the ' +
          'upstream has none ' +
          'and no users are configured; listen on 127.0.0.1, give the upstream a password, or ' +
          'configure users',
      ],
    ],
    [
      'TLS without files',
      'client:\n  tls:\n    mode: prefer\n    key_file: nope.pem\n',
      [
        'config.yaml:2: client.tls.cert_file: is needed for client.tls.mode prefer',
        'config.yaml:4: client.tls.key_file: cannot read nope.pem: there is no such file',
      ],
    ],
    [
      'a URL beside its parts',
      'upstream:\n  url: postgres://u:p@h/d?sslmode=disable\n  port: 1\n  user: x\n  tls: { mode: ' +
        'require }\n',
      [
        'config.yaml:3: upstream.port: stands beside "url"; put it into the URL or remove the URL',
        'config.yaml:4: upstream.user: stands beside "url"; put it into the URL or remove the URL',
        'config.yaml:5: upstream.tls.mode: says something else than "sslmode" in the URL; remove one',
      ],
    ],
    [
      'secrets said twice',
      'upstream: { host: h, password: a, password_file: b }\nusers:\n  x: { password: a, secret: b }\n',
      [
        'config.yaml:1: upstream.password: stands beside "password_file"; remove one',
        'config.yaml:3: users.x.password: stands beside "secret"; remove one',
      ],
    ],
    [
      'a hash as password',
      `users:\n  x:\n    password: md5${'0'.repeat(32)}\n`,
      [
        'config.yaml:3: users.x.password: is a hash, not a plain password; name the key "secret" ' +
          'or "secret_file"',
      ],
    ],
    [
      'sizes',
      'pool: { size: 3, min_size: 4 }\ndatabases:\n  a: { min_pool_size: 4 }\n  b: { min_pool_size: 3 }\n',
      [
        'config.yaml:1: pool.min_size: is more than the size of the pool (3); raise that or lower this',
        'config.yaml:3: databases.a.min_pool_size: is more than the size of the pool (3); raise ' +
          'that or lower this',
      ],
    ],
    [
      'two listeners on one port',
      'admin: { port: 6432 }',
      ['config.yaml:1: admin.port: is the port of the clients (listen.port); choose another'],
    ],
    [
      'a bad URL in a database',
      'databases:\n  a:\n    url: postgres://u:p@h/?sslmode=always\n',
      [
        'config.yaml:3: databases.a.url: has a sslmode that is not supported: it may be disable, ' +
          'allow, prefer, require, verify-ca, verify-full',
      ],
    ],
    [
      'a bad line in the user list',
      'client:\n  users_file: list.txt\n',
      ['list.txt:2: expects "user" "secret", both in double quotes'],
    ],
    [
      'a secret file that is empty',
      'users:\n  a: { secret_file: empty }',
      ['config.yaml:2: users.a.secret_file: empty is empty'],
    ],
    [
      'a folder',
      'users:\n  a: { secret_file: . }',
      ['config.yaml:2: users.a.secret_file: cannot read .: it is a folder'],
    ],
  ]
  writeFileSync(join(folder, 'list.txt'), '"a" "b"\nnot this\n')
  writeFileSync(join(folder, 'empty'), '\n')
  for (const [name, yaml, expected] of cases) {
    it(name, () => assert.deepEqual(problemsOf(yaml), expected))
  }

  it('does not follow up on a value that is wrong itself', () => {
    const problems = problemsOf('pool: { size: x, min_size: 50 }')
    assert.equal(problems.length, 1)
  })
})

it('secrets never stand in an error', () => {
  const secret = 'hunter2'
  writeFileSync(join(folder, 'file'), secret)
  const broken = [
    `users:\n  a: { password: [${secret}] }`,
    `users:\n  a: ${secret}`,
    `users:\n  a:\n    password: "${secret}" x\n`,
    `users:\n  a:\n    password: *${secret}\n`,
    `users:\n  a:\n    password: !${secret} x\n`,
    `users:\n  a:\n    password: &${secret} \n     x: *${secret}\n`,
    `users:\n  a:\n    password: "\\q${secret}"\n`,
    `users:\n  a:\n    password: |${secret}\n`,
    `users:\n  a:\n    password: %${secret}\n`,
    `users:\n  a:\n    password: "${secret}\n`,
    `upstream:\n  url: postgres://u:${secret}@h:x/\n`,
    `upstream:\n  url: ${secret}\n`,
    'pool:\n  size: ${PW}\n',
    'users:\n  a: { password: "${PW}", secret: "${PW}" }\n',
    'users:\n  a: { password_file: file, secret: x }\n',
    '%YAML 1.2 \n${PW}\n',
    `${secret}`,
  ]
  for (const yaml of broken) {
    const problems = problemsOf(yaml, { env: { PW: secret } })
    assert.ok(problems.length > 0, yaml)
    assert.ok(!problems.join().includes(secret), `${yaml}\n${problems.join('\n')}`)
  }
  const env = {
    DATABASE_URL: `postgres://u:${secret}@h:x/`,
    PGMUX_UPSTREAM_PASSWORD: secret,
    PGMUX_POOL_SIZE: 'x',
  }
  assert.ok(!problemsOf('', { env }).join().includes(secret))
})
