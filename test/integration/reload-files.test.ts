// The configuration read again from its files, under load, by signal, with mistakes in it (hazards L01, L02):
// a mistake changes nothing and is told with its line; nobody who is connected notices anything.
import assert from 'node:assert/strict'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, describe, it } from 'node:test'
import { type ConfigError, createPooler, type Pooler } from '../../src/index.ts'
import { direct } from '../support/compare.ts'
import { type LogLine, logTo } from '../support/pooler.ts'
import { getPostgres, notRun } from '../support/postgres.ts'
import { Program } from '../support/program.ts'
import { eventually } from '../support/rig.ts'
import { testCertificate } from '../support/server-files.ts'
import { type LoginError, WireClient } from '../support/wire-client.ts'

const postgres = await getPostgres()
await postgres.admin('create table work (client int, round int)')
await postgres.admin("create role alice login password 'one'")
const folder = mkdtempSync(join(tmpdir(), 'pgmux-reload-'))
after(() => rmSync(folder, { recursive: true, force: true }))

const CLIENTS = 6
const POOL = 3
const RELOADS = 100

const BASE = `upstream: { url: '${postgres.url}' }
listen: { port: 0 }
admin: { host: 'off' }
serverless: { host: 'off' }
`

/** A pooler in this process that reads this file. */
class Filed {
  readonly pooler: Pooler
  readonly lines: LogLine[]
  readonly #file: string

  private constructor(pooler: Pooler, file: string, lines: LogLine[]) {
    this.pooler = pooler
    this.#file = file
    this.lines = lines
  }

  static async start(name: string, text: string): Promise<Filed> {
    const file = join(folder, name)
    writeFileSync(file, text)
    const lines: LogLine[] = []
    const pooler = await createPooler({ file, env: {}, terminal: false, log: logTo(lines, {}) })
    after(() => pooler.drain(0))
    return new Filed(pooler, file, lines)
  }

  write(text: string): void {
    writeFileSync(this.#file, text)
  }

  client(extra: object = {}): Promise<WireClient> {
    const { port } = this.pooler.addresses.postgres
    return WireClient.connect({ ...direct(postgres), host: '127.0.0.1', port, ...extra })
  }

  async metric(name: string): Promise<number> {
    const line = (await this.pooler.metrics()).split('\n').find((one) => one.startsWith(`${name} `))
    return Number(line?.split(' ')[1])
  }
}

describe('a hundred reloads under load', () => {
  it('are not noticed by clients, reconnect nobody, and report each mistake with its line', async () => {
    const { certFile, keyFile } = testCertificate()
    const tls = (round: number): string =>
      round % 3 === 0 ? '{}' : `{ mode: prefer, cert_file: '${certFile}', key_file: '${keyFile}' }`
    // Pools, users and certificates come and go.
    const text = (round: number): string =>
      `${BASE}pool: { size: ${POOL} }\n${'# a line more\n'.repeat(round % 7)}` +
      `client: { max_connections: ${100 + round}, gone_grace: ${1 + (round % 5)}m, tls: ${tls(round)} }\n` +
      `databases:\n  '*': {}\n  extra${round % 4}: { host: 127.0.0.1, port: 1, pool_size: ${1 + round} }\n` +
      `users:\n  extra${round % 3}: { password: p${round} }\n`
    const filed = await Filed.start('load.yaml', text(0))
    const pids = new Set<string>()
    const errors: string[] = []
    let isOver = false
    const rounds = new Array<number>(CLIENTS).fill(0)
    const work = async (index: number): Promise<void> => {
      const client = await filed.client()
      while (!isOver) {
        const { rows, error } = await client.query(
          `begin; insert into work values (${index}, ${rounds[index]}); select pg_backend_pid(); commit`,
        )
        if (error !== null) errors.push(error.message)
        pids.add(String(rows[0]?.[0]))
        rounds[index]!++
      }
      await client.end()
    }
    const all = Array.from({ length: CLIENTS }, (_, index) => work(index))
    await eventually(() => rounds.every((count) => count > 2))
    const opened = await filed.metric('pgmux_server_opens_total')
    for (let round = 1; round <= RELOADS; round++) {
      const isBroken = round % 5 === 0
      const good = text(round)
      filed.write(isBroken ? `${good}pool_size: 3\n` : good)
      if (isBroken) {
        const line = good.split('\n').length
        const wrong = (error: ConfigError) =>
          error.message.includes(`load.yaml:${line}: pool_size: unknown key`)
        assert.throws(() => filed.pooler.reread(), wrong)
        assert.notEqual(filed.pooler.config.client.maxConnections, 100 + round)
      } else {
        assert.ok(filed.pooler.reread().changed.includes('client.max_connections'))
        assert.equal(filed.pooler.config.client.maxConnections, 100 + round)
      }
      const before = rounds[0]!
      await eventually(() => rounds[0]! > before)
    }
    isOver = true
    await Promise.all(all)
    assert.deepEqual(errors, [])
    assert.ok(pids.size <= POOL, `servers: ${[...pids].join()}`)
    assert.equal(await filed.metric('pgmux_server_opens_total'), opened)
    const [{ count }] = (await postgres.admin('select count(*) from work')) as [{ count: string }]
    assert.equal(
      Number(count),
      rounds.reduce((sum, one) => sum + one, 0),
    )
    const failures = filed.lines.filter(
      ({ level, message }) => level === 'error' && message.includes('reload'),
    )
    assert.equal(failures.length, RELOADS / 5)
    assert.equal(await filed.metric('pgmux_reloads_total{result="failed"}'), RELOADS / 5)
    assert.equal(await filed.metric('pgmux_reloads_total{result="ok"}'), (RELOADS * 4) / 5)
  })
})

describe('files that the configuration names', () => {
  it('are read again: the user list', async () => {
    const list = join(folder, 'users.txt')
    writeFileSync(list, '"alice" "one"\n')
    const text = `${BASE}client: { users_file: users.txt }\n`
    const filed = await Filed.start('list.yaml', text)
    await (await filed.client({ user: 'alice', password: 'one' })).end()
    writeFileSync(list, '"bob" "two"\n"alice" "three"\n')
    const report = filed.pooler.reread()
    assert.deepEqual([report.users.added, report.users.changed], [['bob'], ['alice']])
    const refused = (error: LoginError) => error.code === '28P01'
    await assert.rejects(filed.client({ user: 'alice', password: 'one' }), refused)
    writeFileSync(list, 'alice one\n')
    assert.throws(() => filed.pooler.reread(), /users\.txt:1: expects "user" "secret"/)
  })

  it('are read again: the rules of access', async () => {
    const rules = join(folder, 'hba.conf')
    writeFileSync(rules, 'host all all 127.0.0.1/32 scram-sha-256\n')
    const filed = await Filed.start('hba.yaml', `${BASE}client: { auth: hba, hba_file: hba.conf }\n`)
    const inside = await filed.client()
    writeFileSync(rules, 'host all all 127.0.0.1/32 reject\n')
    assert.deepEqual(filed.pooler.reread().changed, ['client.hba_file'])
    await assert.rejects(filed.client(), (error: LoginError) => error.code === '28000')
    assert.equal((await inside.query('select 1')).error, null)
    writeFileSync(rules, 'host all all nowhere scram-sha-256\nhost all\n')
    assert.throws(() => filed.pooler.reread(), /hba\.conf:2/)
    await inside.end()
  })

  it('no secret stands in what is logged of a change', async () => {
    const filed = await Filed.start('secret.yaml', `${BASE}users: { bob: { password: first-secret } }\n`)
    filed.write(`${BASE}users: { bob: { password: second-secret }, eve: { secret: third-secret } }\n`)
    filed.pooler.reread()
    const told = filed.lines.find(({ message }) => message === 'configuration reloaded')
    assert.deepEqual(told?.fields, { changed: ['users.bob.secret'], users_added: ['eve'] })
    assert.doesNotMatch(JSON.stringify(filed.lines), /-secret/)
    filed.pooler.reread()
    assert.equal(filed.lines.at(-1)?.message, 'configuration reloaded: nothing has changed')
  })
})

/** Log lines of a process with this text, as objects. */
function logged(program: Program, text: string): Record<string, unknown>[] {
  const found = program.lines.filter((line) => line.startsWith('{') && line.includes(text))
  return found.map((line) => JSON.parse(line) as Record<string, unknown>)
}

describe('SIGHUP', () => {
  it('reads the file again; a mistake changes nothing; during a drain it does nothing', async () => {
    const file = join(folder, 'hup.yaml')
    const text = (size: string) => `upstream: { url: '${postgres.url}' }\npool: { size: ${size} }\n`
    writeFileSync(file, text('2'))
    const program = await Program.start(['--config', file], postgres.password)
    const client = await program.client()
    const pid = (await client.query('select pg_backend_pid()')).rows[0]?.[0]
    writeFileSync(file, text('5'))
    program.child.kill('SIGHUP')
    await eventually(() => logged(program, 'configuration reloaded').length > 0)
    assert.deepEqual(logged(program, 'configuration reloaded')[0]?.changed, ['pool.size'])
    writeFileSync(file, text('many'))
    program.child.kill('SIGHUP')
    await eventually(() => logged(program, 'reload failed').length > 0)
    const [failure] = logged(program, 'reload failed')
    assert.equal(failure?.level, 'error')
    assert.match(String(failure?.problem), /hup\.yaml:2: pool\.size: expects a whole number/)
    assert.equal((await client.query('select pg_backend_pid()')).rows[0]?.[0], pid)
    await client.query('begin')
    program.child.kill('SIGTERM')
    program.child.kill('SIGHUP')
    await eventually(async () => assert.rejects(program.client()))
    program.child.kill('SIGHUP')
    assert.equal((await client.query('commit')).error, null)
    assert.equal(await program.exit, 0)
  })

  it('many at once are one or two, and the Postgres of our own stays the upstream', async (t) => {
    if (postgres.kind !== 'embedded') {
      notRun(t, 'the embedded Postgres is not installed, or another one is to be tested')
      return
    }
    const program = await Program.start(['--ephemeral'], postgres.password)
    const client = await program.client()
    const pid = (await client.query('select pg_backend_pid()')).rows[0]?.[0]
    for (let count = 0; count < 20; count++) program.child.kill('SIGHUP')
    await eventually(() => logged(program, 'nothing has changed').length > 0)
    assert.equal((await client.query('select pg_backend_pid()')).rows[0]?.[0], pid)
    const another = await program.client()
    assert.equal((await another.query('select 1')).error, null)
    assert.ok(logged(program, 'configuration reloaded').length <= 5)
    program.child.kill('SIGTERM')
    assert.equal(await program.exit, 0)
  })

  it('USR1 pauses, USR2 resumes', async () => {
    const program = await Program.start(['--upstream', postgres.url], postgres.password)
    const client = await program.client()
    await client.query('select 1')
    program.child.kill('SIGUSR1')
    await eventually(() => logged(program, 'paused').length > 0)
    let isAnswered = false
    const answer = client.query('select 5').then((result) => {
      isAnswered = true
      return result
    })
    const late = await program.client()
    assert.equal(isAnswered, false)
    program.child.kill('SIGUSR2')
    assert.equal((await answer).rows[0]?.[0], '5')
    await late.end()
    program.child.kill('SIGTERM')
    assert.equal(await program.exit, 0)
  })
})
