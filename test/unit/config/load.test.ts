// Loading: the order of the layers, expansion, secrets from files, the rules between keys.

import assert from 'node:assert/strict'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, describe, it } from 'node:test'
import { type Flags, type LoadedConfig, loadConfig } from '../../../src/config/load.ts'

const folder = mkdtempSync(join(tmpdir(), 'pgmux-config-'))
after(() => rmSync(folder, { recursive: true }))

function write(name: string, text: string): string {
  const file = join(folder, name)
  writeFileSync(file, text)
  return file
}

interface Given {
  yaml?: string
  env?: Record<string, string>
  flags?: Flags
}

function load({ yaml, env = {}, flags = {} }: Given): LoadedConfig {
  const file = yaml === undefined ? undefined : write('config.yaml', yaml)
  return loadConfig({ file, env, flags, terminal: false })
}

const secretsOf = ({ config }: LoadedConfig) => [...config.users].map(([name, user]) => [name, user.secret])

describe('layers', () => {
  const yaml = 'pool:\n  size: 1\n  min_size: 1\n  mode: session\n'

  it('flag beats environment beats file beats default', () => {
    const env = { PGMUX_POOL_SIZE: '2', PGMUX_POOL_MODE: 'statement' }
    const { config, sources } = load({ yaml, env, flags: { poolSize: '3' } })
    assert.deepEqual(
      [config.pool.size, config.pool.mode, config.pool.minSize, config.pool.maxLogins],
      [3, 'statement', 1, 4],
    )
    assert.equal(sources.get('pool.size'), '--pool-size')
    assert.equal(sources.get('pool.mode'), 'PGMUX_POOL_MODE')
    assert.equal(sources.get('pool.min_size'), `${join(folder, 'config.yaml')}:3`)
    assert.equal(sources.get('pool.max_logins'), undefined)
  })

  it('names the file by option, flag, environment, in this order', () => {
    const files = [1, 2, 3].map((size) => write(`${size}.yaml`, `pool: { size: ${size} }`))
    const env = { PGMUX_CONFIG: files[0]! }
    assert.equal(loadConfig({ env }).config.pool.size, 1)
    assert.equal(loadConfig({ env, flags: { config: files[1] } }).config.pool.size, 2)
    assert.equal(loadConfig({ env, flags: { config: files[1] }, file: files[2] }).config.pool.size, 3)
    assert.equal(loadConfig({ env: {} }).file, null)
  })

  it('takes addresses and the rest from flags', () => {
    const flags = {
      listen: '[::1]:7000',
      admin: 'off',
      logLevel: 'debug',
      logFormat: 'pretty',
      ephemeral: true,
    }
    const { config } = load({ flags })
    assert.deepEqual([config.listen.hosts, config.listen.port], [['::1'], 7000])
    assert.equal(config.admin.host, '')
    assert.deepEqual([config.log.level, config.log.format], ['debug', 'pretty'])
    assert.equal(config.embedded.ephemeral, true)
    assert.equal(load({ flags: { admin: '0.0.0.0:1' } }).config.admin.port, 1)
  })

  it('ignores empty variables and warns of unknown ones', () => {
    const env = {
      PGMUX_POOL_SIZE: '',
      PGMUX_POOL_SIZES: '1',
      PGMUX_TEST_URL: 'x',
      OTHER: 'x',
      DATABASE_URL: '',
    }
    const { config, warnings } = load({ env })
    assert.equal(config.pool.size, 20)
    assert.deepEqual(warnings, [
      'PGMUX_POOL_SIZES: unknown environment variable, did you mean "PGMUX_POOL_SIZE"?',
    ])
  })

  it('takes sections that are empty or missing', () => {
    assert.deepEqual(load({ yaml: '' }).config, load({}).config)
    assert.deepEqual(load({ yaml: 'pool:\nclient:\n  tls:\ndatabases:\n' }).config, load({}).config)
  })

  it('writes pretty lines on a terminal', () => {
    assert.equal(loadConfig({ env: {}, terminal: true }).config.log.format, 'pretty')
    assert.equal(loadConfig({ env: {}, terminal: false }).config.log.format, 'json')
  })
})

describe('variables in the file', () => {
  it('are replaced, also where a number or boolean is wanted', () => {
    const yaml = [
      'pool:\n  size: ${N}\n  min_size: "${M:-2}"\n  server_lifetime: ${T:-5m}\n  ' +
        'prepared_memory: ${B:-1024}',
      'embedded: { ephemeral: "${E:-true}" }',
      'users:\n  a: { password: "${N}-$${N}-${EMPTY:-x}" }',
    ].join('\n')
    const loaded = load({ yaml, env: { N: '7', EMPTY: '' } })
    const { pool, embedded } = loaded.config
    assert.deepEqual(
      [pool.size, pool.minSize, pool.serverLifetimeMs, pool.preparedMemory],
      [7, 2, 300_000, 1024],
    )
    assert.equal(embedded.ephemeral, true)
    assert.deepEqual(secretsOf(loaded), [['a', '7-${N}-x']])
  })

  it('may be repeated by aliases', () => {
    const yaml = 'databases:\n  a: &x { host: h, pool_size: "${N}" }\n  b: *x\n'
    assert.deepEqual(load({ yaml, env: { N: '3' } }).config.databases.get('b'), { host: 'h', poolSize: 3 })
  })
})

describe('the upstream', () => {
  it('is one URL: its user becomes a known user', () => {
    const loaded = load({ flags: { upstream: 'postgres://u:p%40@h:1/d?sslmode=require&x=1' } })
    const { upstream, client } = loaded.config
    assert.deepEqual([upstream.host, upstream.port, upstream.user, upstream.password], ['h', 1, 'u', 'p@'])
    // Any database goes there; the one in the URL is an example.
    assert.deepEqual([upstream.dbname, upstream.shownDbname], ['', 'd'])
    assert.deepEqual([upstream.tls.mode, client.auth], ['require', 'scram-sha-256'])
    assert.deepEqual(secretsOf(loaded), [['u', 'p@']])
    assert.deepEqual(loaded.warnings, ['--upstream: the parameter "x" is not used'])
  })

  it('without password and users means trust', () => {
    const upstream = 'postgres://u@h/d'
    assert.equal(load({ flags: { upstream } }).config.client.auth, 'trust')
    const users = 'users:\n  a: { password: b }\n'
    assert.equal(load({ yaml: users, flags: { upstream } }).config.client.auth, 'scram-sha-256')
    const strict = load({ flags: { upstream }, env: { PGMUX_CLIENT_AUTH: 'md5' } })
    assert.equal(strict.config.client.auth, 'md5')
    assert.match(strict.warnings[0]!, /^PGMUX_CLIENT_AUTH: nobody can log in with md5/)
  })

  it('keeps a user that is configured', () => {
    const env = { DATABASE_URL: 'postgres://u:p@h/d' }
    assert.deepEqual(secretsOf(load({ env, yaml: 'users:\n  u: { password: other }' })), [['u', 'other']])
    assert.deepEqual(secretsOf(load({ env, yaml: 'users:\n  u: { pool_size: 3 }' })), [['u', 'p']])
  })

  it('URL and separate keys of different places replace each other', () => {
    const yaml = 'upstream:\n  url: postgres://u:p@h:1/d\n'
    const pick = (given: Given) => {
      const { host, port, user, password, dbname, shownDbname } = load(given).config.upstream
      return [host, port, user, password, dbname || shownDbname]
    }
    assert.deepEqual(pick({ yaml, env: { PGMUX_UPSTREAM_PASSWORD: 'q' } }), ['h', 1, 'u', 'q', 'd'])
    assert.deepEqual(pick({ yaml, env: { PGMUX_UPSTREAM_PORT: '5432' } }), ['h', 5432, 'u', 'p', 'd'])
    assert.deepEqual(pick({ yaml, env: { PGMUX_UPSTREAM_USER: 'v' } }), ['h', 1, 'v', null, 'd'])
    assert.deepEqual(pick({ yaml, env: { PGMUX_UPSTREAM_HOST: 'i' } }), ['i', 5432, '', null, ''])
    assert.deepEqual(pick({ yaml, flags: { upstream: 'postgres://i' } }), ['i', 5432, '', null, ''])
    const keys = 'upstream: { host: i, port: 2, user: v, password: q, dbname: e }'
    assert.deepEqual(pick({ yaml: keys }), ['i', 2, 'v', 'q', 'e'])
    assert.deepEqual(pick({ yaml: keys, env: { DATABASE_URL: 'postgres://u@h' } }), [
      'h',
      5432,
      'u',
      null,
      '',
    ])
    const both = { DATABASE_URL: 'postgres://a', PGMUX_UPSTREAM_URL: 'postgres://b' }
    assert.deepEqual(pick({ env: both }), ['b', 5432, '', null, ''])
  })

  it('sslmode beats the key of lower places', () => {
    const mode = (given: Given) => load(given).config.upstream.tls.mode
    const yaml = 'upstream: { url: "postgres://h?sslmode=require" }'
    assert.equal(mode({ yaml }), 'require')
    assert.equal(mode({ yaml, env: { PGMUX_UPSTREAM_TLS_MODE: 'disable' } }), 'disable')
    assert.equal(mode({ yaml: 'upstream: { url: "postgres://h", tls: { mode: require } }' }), 'require')
  })
})

describe('databases and users', () => {
  it('are taken over with what was said about them only', () => {
    const yaml = [
      'databases:',
      '  app: { url: "postgres://u:p@h/x?sslmode=disable", pool_size: 2, max_clients: 5 }',
      '  "*": { host: i, tls: { mode: require }, pool_mode: session, min_pool_size: 1, reserve_size: 1 }',
      '  a.b: { port: 1, max_servers: 4 }',
      'users:',
      '  x: { secret: s, pool_mode: statement, pool_size: 1, max_servers: 2, max_clients: 3 }',
    ].join('\n')
    const { databases, users } = load({ yaml }).config
    assert.deepEqual(Object.fromEntries(databases), {
      app: {
        host: 'h',
        port: 5432,
        user: 'u',
        password: 'p',
        dbname: 'x',
        tls: { mode: 'disable' },
        poolSize: 2,
        maxClients: 5,
      },
      '*': { host: 'i', tls: { mode: 'require' }, poolMode: 'session', minPoolSize: 1, reserveSize: 1 },
      'a.b': { port: 1, maxServers: 4 },
    })
    const x = { secret: 's', poolMode: 'statement', poolSize: 1, maxServers: 2, maxClients: 3 }
    assert.deepEqual(Object.fromEntries(users), { x })
  })

  it('secrets come from files, which start from the folder of the configuration', () => {
    write('one', 'first\n')
    write('two', 'second\r\n')
    write('three', ' third \n\n')
    write('users.txt', '"d" "fourth"\n"a" "not this"\n"e" "md500000000000000000000000000000000"\n')
    const yaml = [
      'upstream: { host: h, user: u, password_file: one }',
      'client: { users_file: users.txt, auth: md5 }',
      'users:\n  a: { password_file: two }\n  c: { secret_file: three }\n  d: { pool_size: 1 }',
      'databases:\n  x: { password_file: two }',
    ].join('\n')
    const loaded = load({ yaml })
    assert.equal(loaded.config.upstream.password, 'first')
    assert.equal(loaded.config.databases.get('x')!.password, 'second')
    const md5 = `md5${'0'.repeat(32)}`
    assert.deepEqual(Object.fromEntries(secretsOf(loaded)), {
      a: 'second',
      c: ' third \n',
      d: 'fourth',
      e: md5,
      u: 'first',
    })
    const scram = load({ yaml: yaml.replace('md5', 'scram-sha-256') })
    assert.match(scram.warnings.join(), /user e: an md5 hash cannot log in/)
  })
})
