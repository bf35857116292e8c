// The same pg_hba.conf for a real Postgres and for pgmux: over random files, users, databases, addresses and
// TLS both give the same verdict, in the same words, or ask in the same way. Real connections from several
// addresses of this machine. Must never look at a verdict other than as a client sees it.
import assert from 'node:assert/strict'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { createServer } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, suite, test } from 'node:test'
import { loadConfig } from '../../src/config/load.ts'
import { Authority, type Issued, NO_OPENSSL, showing } from '../support/authority.ts'
import * as m from '../support/messages.ts'
import { type Overrides, startPooler } from '../support/pooler.ts'
import { getPostgres, notRun } from '../support/postgres.ts'
import { Prng } from '../support/prng.ts'
import { replaceHba, testCertificate, useTls, writeDataFile } from '../support/server-files.ts'
import { WireClient } from '../support/wire-client.ts'

const SEED = Number(process.env.SEED ?? Math.floor(Math.random() * 2 ** 31))
const FILES = 10
const CASES = 110
const WORKERS = 8
/** Connections of the tests themselves. */
const OURS = 'host all postgres 127.0.0.1/32 scram-sha-256'

const hasV6 = await hasLoopback6()
const postgres = await getPostgres({
  settings: { listen_addresses: hasV6 ? '127.0.0.1,::1' : '127.0.0.1', max_wal_senders: '60' },
})
const authority = NO_OPENSSL === '' ? new Authority() : null
const isOwn = postgres.kind === 'embedded' && postgres.major >= 16
const folder = mkdtempSync(join(tmpdir(), 'pgmux-hba-'))
after(() => rmSync(folder, { recursive: true, force: true }))

const USERS = ['alice', 'bob', 'Car ol', 'all', 'replication', 'hashed', 'a"b', 'ghost']
const DATABASES = ['alice', 'bob', 'shop', 'all', 'replication', 'sameuser', 'Car ol', 'nowhere']
const SECRETS = new Map<string, { secret: string }>()

async function prepare(): Promise<void> {
  await useTls(postgres, authority?.caFile)
  for (const user of USERS.slice(0, -1)) {
    const encryption = user === 'hashed' ? 'md5' : 'scram-sha-256'
    const name = `"${user.replaceAll('"', '""')}"`
    await postgres.admin(
      `do $$ begin
        set local password_encryption = '${encryption}';
        create role ${name} login password 'secret';
      end $$`,
    )
  }
  const rows = await postgres.admin(
    'select rolname, rolpassword from pg_authid where rolpassword is not null',
  )
  for (const { rolname, rolpassword } of rows) SECRETS.set(String(rolname), { secret: String(rolpassword) })
}
if (isOwn) await prepare()

function hasLoopback6(): Promise<boolean> {
  const server = createServer()
  return new Promise((resolve) => {
    server.on('error', () => resolve(false))
    server.listen(0, '::1', () => server.close(() => resolve(true)))
  })
}

/** The part of a configuration that comes of such a file. */
function hbaConfig(text: string, ident = ''): Overrides {
  const { certFile, keyFile } = testCertificate()
  const caFile = authority?.caFile ?? certFile
  writeFileSync(join(folder, 'pg_hba.conf'), text)
  writeFileSync(join(folder, 'pg_ident.conf'), ident)
  writeFileSync(
    join(folder, 'config.yaml'),
    `client:
  hba_file: pg_hba.conf
  ident_file: pg_ident.conf
  tls: { mode: allow, cert_file: ${certFile}, key_file: ${keyFile}, ca_file: ${caFile} }\n`,
  )
  const { client } = loadConfig({ file: join(folder, 'config.yaml'), env: {}, terminal: false }).config
  const { auth, hbaFile, identFile, tls } = client
  return { client: { auth, hbaFile, identFile, tls }, users: SECRETS }
}

interface Case {
  readonly user: string
  readonly database: string
  readonly params: Record<string, string>
  /** '' : over the Unix socket. */
  readonly from: string
  readonly ssl: false | 'request'
  readonly certificate?: Issued | null
}

interface Files {
  readonly hba: string
  readonly ident?: string
}

interface Door {
  readonly host: string
  readonly port: number
}

/** The first thing that a client hears. */
async function verdict(
  door: Door,
  { user, database, params, from, ssl, certificate }: Case,
): Promise<string> {
  const source = from === '' ? {} : { localAddress: from }
  const tls = certificate ? showing(certificate) : {}
  await using client = await WireClient.open({ ...door, ...source, ssl, tls })
  client.send(m.startup({ user, database, ...params }))
  const first = await client.next()
  if (first.type === 'E') return `${first.severity} ${first.code} ${first.message}`
  assert.equal(first.type, 'R', first.type)
  if (first.type !== 'R') return ''
  // With md5 Postgres asks a stranger as it would ask a new user; we as those that there are.
  return user === 'ghost' && (first.method === 5 || first.method === 10) ? 'R challenge' : `R ${first.method}`
}

const quoted = (name: string) => (/^[a-z]+$/.test(name) ? name : `"${name.replaceAll('"', '""')}"`)
const ADDRESSES = ['127.0.0.1', '127.0.0.2', '127.0.0.77', '127.1.2.3', ...(hasV6 ? ['::1'] : []), '']
const NETWORKS = [
  ...['127.0.0.0/8', '127.0.0.1/32', '127.0.0.2/31', '127.1.0.0/16', '0.0.0.0/0', '10.0.0.0/8'],
  ...[
    '127.0.0.77 255.255.255.255',
    '127.9.9.1 255.0.0.255',
    '::1/128',
    '::/0',
    '::1 ffff::',
    '2001:db8::/32',
  ],
  ...[
    'samehost',
    'samenet',
    'all',
    'all',
    'all',
    '127.0.0.0/8',
    '0.0.0.0/0',
    '::/0',
    '::ffff:127.0.0.1/128',
    '127.0.0.99/0',
  ],
]
const PATTERNS = ['/^a', '/o', '"/^(alice|bob)$"', '/^.{3}$', '/l\\M', '"/[^a-z]"', '/^$']
const METHODS = ['trust', 'reject', 'scram-sha-256', 'scram-sha-256', 'md5', 'password']

/** A quote makes a name of a word only where it stands in front. */
const USER_WORDS = ['all', 'all', 'all', 'a"ll"', '""all']
const DATABASE_WORDS = [
  'all',
  'all',
  'all',
  'sameuser',
  'replication',
  'same"user"',
  '""all',
  're"plication"',
]

function randomNames(prng: Prng, names: readonly string[], keywords: readonly string[]): string {
  const one = (): string => {
    if (prng.chance(0.55)) return prng.pick(keywords)
    if (prng.chance(0.2)) return prng.pick(PATTERNS)
    return prng.chance(0.3) ? `"${prng.pick(names).replaceAll('"', '""')}"` : quoted(prng.pick(names))
  }
  return Array.from({ length: prng.pick([1, 1, 2, 3]) }, one).join(prng.pick([',', ', ']))
}

function randomLine(prng: Prng): string {
  const kinds = ['host', 'host', 'host', 'hostssl', 'hostssl', 'hostnossl', 'hostnogssenc', 'local']
  const kind = prng.pick(kinds)
  const databases = randomNames(prng, DATABASES, DATABASE_WORDS)
  const users = randomNames(prng, USERS, USER_WORDS)
  const address = kind === 'local' ? '' : prng.pick(NETWORKS)
  const method = kind === 'hostssl' && prng.chance(0.15) ? 'cert' : prng.pick(METHODS)
  const options =
    kind === 'hostssl' && prng.chance(0.15) ? prng.pick(['clientcert=verify-full', 'clientname=DN']) : ''
  return [kind, databases, users, address, method, options].join(prng.pick([' ', '\t', '  ']))
}

function randomCase(prng: Prng): Case {
  const from = prng.pick(ADDRESSES)
  const replication = prng.chance(0.15) ? { replication: prng.pick(['true', 'database', 'off']) } : {}
  const user = prng.pick(USERS)
  const database = prng.chance(0.3) && DATABASES.includes(user) ? user : prng.pick(DATABASES)
  return {
    user,
    database,
    params: replication,
    from,
    ssl: from !== '' && prng.chance(0.4) ? 'request' : false,
  }
}

/** A pooler with these rules on both loopback addresses and a Unix socket, in front of nothing. */
async function withPooler(files: Files, run: (door: (from: string) => Door) => Promise<void>): Promise<void> {
  const hosts: [string, ...string[]] = hasV6 ? ['127.0.0.1', '::1'] : ['127.0.0.1']
  const overrides = { ...hbaConfig(files.hba, files.ident), listen: { hosts, unixSocketDir: folder } }
  const pooler = await startPooler('postgres://x:y@127.0.0.1:1/x', overrides)
  const { port } = pooler
  try {
    await run((from) => ({ host: from === '' ? folder : loopbackFor(from), port }))
  } finally {
    await pooler.stop()
  }
}

/** The address of a server that such a client can reach. */
function loopbackFor(from: string): string {
  return from.includes(':') ? '::1' : '127.0.0.1'
}

function postgresDoor(from: string): Door {
  const { port, control } = postgres
  if (from === '') return { host: control?.socketDir ?? '', port }
  return { host: loopbackFor(from), port }
}

/** Has both judge these connections by this file. @returns what was heard */
async function compare(files: Files, cases: readonly Case[]): Promise<string[]> {
  const heard: string[] = []
  const open = [...cases]
  await writeDataFile(postgres, 'pg_ident.conf', files.ident ?? '')
  await replaceHba(postgres, files.hba)
  await withPooler(files, async (door) => {
    const worker = async (): Promise<void> => {
      for (let one = open.pop(); one !== undefined; one = open.pop()) {
        const [theirs, ours] = await Promise.all([
          verdict(postgresDoor(one.from), one),
          verdict(door(one.from), one),
        ])
        assert.equal(ours, theirs, `SEED=${SEED} ${JSON.stringify(one)}\n${files.hba}`)
        heard.push(theirs)
      }
    }
    await Promise.all(Array.from({ length: WORKERS }, worker))
  })
  return heard
}

const NONE = 'FATAL 28000 no pg_hba.conf entry for'
const REJECTS = 'FATAL 28000 pg_hba.conf rejects'
const needs = postgres.missing || 'needs Postgres 16 for patterns in pg_hba.conf'

suite('verdicts equal those of Postgres for the same file', () => {
  test('each kind of verdict', async (t) => {
    if (!isOwn) return notRun(t, needs)
    const text = `${OURS}
host     replication alice      127.0.0.1/32 reject
host     shop        alice      127.0.0.1/32 trust
host     shop        bob        127.0.0.1/32 md5
host     shop        hashed     127.0.0.1/32 md5
host     shop        "Car ol"   127.0.0.1/32 password
hostssl  bob         bob        127.0.0.1/32 scram-sha-256 clientcert=verify-ca
hostssl  bob         all        127.0.0.1/32 reject clientcert=verify-full
host     sameuser    all        127.0.0.1/32 scram-sha-256
local    all         alice                   reject
host     all         all        127.0.0.2/32 reject
`
    const from = '127.0.0.1'
    const one = (user: string, database: string, rest: Partial<Case> = {}): Case => {
      return { user, database, params: {}, from, ssl: false, ...rest }
    }
    const physical = { params: { replication: 'true' } }
    const expected: [Case, string][] = [
      [one('alice', 'shop'), 'R 0'],
      [one('bob', 'shop'), 'R 10'],
      [one('hashed', 'shop'), 'R 5'],
      [one('Car ol', 'shop'), 'R 3'],
      [one('alice', 'alice', { ssl: 'request' }), 'R 10'],
      [one('bob', 'bob', { ssl: 'request' }), 'FATAL 28000 connection requires a valid client certificate'],
      [one('alice', 'bob', { ssl: 'request' }), 'FATAL 28000 connection requires a valid client certificate'],
      [one('alice', 'bob'), `${NONE} host "127.0.0.1", user "alice", database "bob", no encryption`],
      [
        one('a"b', 'shop', { ssl: 'request' }),
        `${NONE} host "127.0.0.1", user "a"b", database "shop", SSL encryption`,
      ],
      [
        one('alice', 'shop', { from: '' }),
        `${REJECTS} connection for host "[local]", user "alice", database "shop", no encryption`,
      ],
      [
        one('alice', 'shop', { from: '127.0.0.2' }),
        `${REJECTS} connection for host "127.0.0.2", user "alice", database "shop", no encryption`,
      ],
      [
        one('alice', 'shop', physical),
        `${REJECTS} replication connection for host "127.0.0.1", user "alice", no encryption`,
      ],
      [
        one('bob', 'shop', physical),
        `${NONE} replication connection from host "127.0.0.1", user "bob", no encryption`,
      ],
      [one('alice', 'shop', { params: { replication: 'database' } }), 'R 0'],
      [
        one('alice', 'alice'.padEnd(90, 'x')),
        `${NONE} host "127.0.0.1", user "alice", database "${'alice'.padEnd(63, 'x')}", no encryption`,
      ],
    ]
    const cases = expected.map(([wanted]) => wanted)
    const heard = await compare({ hba: text }, cases)
    assert.deepEqual(heard.sort(), expected.map(([, words]) => words).sort())
  })

  test(`${FILES * CASES} random connections, ${FILES} random files (SEED=${SEED})`, async (t) => {
    if (!isOwn) return notRun(t, needs)
    const prng = new Prng(SEED)
    const heard: string[] = []
    for (let file = 0; file < FILES; file++) {
      const lines = Array.from({ length: prng.between(6, 20) }, () => randomLine(prng))
      const cases = Array.from({ length: CASES }, () => randomCase(prng))
      heard.push(...(await compare({ hba: [OURS, ...lines, ''].join('\n') }, cases)))
    }
    const nobody = heard.filter((words) => words.includes('no pg_hba.conf entry')).length
    assert.ok(nobody > 50 && heard.length - nobody > 300, `${nobody} of ${heard.length} met no line`)
  })
})

suite('verdicts over certificates equal those of Postgres', () => {
  test('with user maps, by common name and whole subject', async (t) => {
    if (!isOwn || authority === null) return notRun(t, NO_OPENSSL || needs)
    const hba = `${OURS}
hostssl alice       all all cert
hostssl bob         all all cert map=m
hostssl shop        all all cert map=dn clientname=DN
hostssl "all"       all all trust clientcert=verify-full
hostssl "Car ol"    all all trust clientcert=verify-ca
hostssl replication all all cert map=nowhere
`
    const ident = String.raw`
m   alice                     alice
m   "Car ol"                  bob
m   /^(.*)@example\.com$      \1
m   root                      all
m   /^h                       /^(hashed|all)$
dn  "/^CN=(.*),O=Tests$"      \1
`
    const names = ['alice', 'Car ol', 'bob@example.com', 'root', 'hashed']
    const shown = [null, ...names.map((name) => authority.issue(`/O=Tests/CN=${name}`))]
    const databases = ['alice', 'bob', 'shop', 'all', 'Car ol', 'replication']
    const cases = shown.flatMap((certificate) =>
      databases.flatMap((database) =>
        ['alice', 'bob', 'Car ol', 'hashed', 'all'].map(
          (user): Case => ({ user, database, params: {}, from: '127.0.0.1', ssl: 'request', certificate }),
        ),
      ),
    )
    const heard = await compare({ hba, ident }, cases)
    const passed = heard.filter((words) => words === 'R 0').length
    assert.ok(passed > 40 && passed < 100, `${passed} of ${heard.length} passed`)
  })
})

suite('logins by pg_hba.conf', () => {
  test('the method of the line is asked for, and who passes works in Postgres', async (t) => {
    if (!isOwn) return notRun(t, needs)
    await replaceHba(postgres, `${OURS}\n`)
    const rules = hbaConfig(
      'host all alice samehost scram-sha-256\nhost all bob 127.0.0.0/8 trust\nhost all hashed all md5\n',
    )
    const pooler = await startPooler(postgres.url, rules)
    after(() => pooler.stop())
    const { host, port } = pooler
    const login = (user: string, extra: object) =>
      WireClient.connect({ host, port, database: postgres.database, user, ...extra })
    for (const extra of [
      { user: 'alice', password: 'secret' },
      { user: 'bob' },
      { user: 'hashed', password: 'secret' },
    ]) {
      await using client = await login(extra.user, extra)
      assert.deepEqual((await client.query('select 1')).rows, [['1']], extra.user)
    }
    await assert.rejects(login('alice', { password: 'wrong' }), /28P01/)
    await assert.rejects(
      login('alice', { password: 'secret', localAddress: '127.0.0.5' }),
      /28000.*no pg_hba/,
    )
  })

  test('who is refused by a line causes no connection to Postgres and no look at a secret', async () => {
    const pooler = await startPooler('postgres://x:y@127.0.0.1:1/x', hbaConfig('host all alice all reject\n'))
    after(() => pooler.stop())
    const { host, port } = pooler
    for (const user of ['alice', 'bob'])
      await assert.rejects(
        WireClient.connect({ host, port, user, database: 'shop' }),
        /28000: .*pg_hba\.conf/,
      )
    assert.deepEqual([...pooler.pooler.router.entries()], [])
  })
})
