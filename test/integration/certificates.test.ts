// Certificates that are replaced while the pooler runs (hazards F22, L03): taken when both files are there,
// never half, without a reload and without a connection lost.
import assert from 'node:assert/strict'
import { X509Certificate } from 'node:crypto'
import { copyFileSync, mkdtempSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { TLSSocket } from 'node:tls'
import { after, describe, it, type TestContext } from 'node:test'
import { setTimeout as pause } from 'node:timers/promises'
import { Authority, type Issued, NO_OPENSSL } from '../support/authority.ts'
import { getPostgres, notRun } from '../support/postgres.ts'
import { merge, type TestPooler } from '../support/pooler.ts'
import { eventually, Rig } from '../support/rig.ts'
import { testCertificate, useTls } from '../support/server-files.ts'
import { openSocket } from '../support/sockets.ts'
import { openRaw } from '../support/web-socket.ts'

const postgres = await getPostgres()
const folder = mkdtempSync(join(tmpdir(), 'pgmux-certificates-'))
after(() => rmSync(folder, { recursive: true, force: true }))
const pair = { certFile: join(folder, 'server.crt'), keyFile: join(folder, 'server.key') }

function put({ certFile, keyFile }: Issued): void {
  copyFileSync(certFile, pair.certFile)
  copyFileSync(keyFile, pair.keyFile)
}

/** Serial number of the certificate that a client is shown; a handshake that fails throws. */
async function shown(pooler: TestPooler): Promise<string> {
  const socket = await openSocket({ host: pooler.host, port: pooler.port, ssl: 'direct' })
  const certificate = (
    socket as unknown as { getPeerX509Certificate(): X509Certificate }
  ).getPeerX509Certificate()
  socket.destroy()
  return certificate.serialNumber
}

const serialOf = ({ certFile }: Issued) => new X509Certificate(readFileSync(certFile)).serialNumber
const told = (pooler: TestPooler, text: string) =>
  pooler.lines.filter(({ message }) => message.includes(text))
const KEPT = 'the old ones stay in use'

function canIssue(t: TestContext): boolean {
  if (NO_OPENSSL !== '') notRun(t, NO_OPENSSL)
  return NO_OPENSSL === ''
}

describe('our certificate for clients', () => {
  it('the key comes a second after the certificate: the old pair until then, then the new one', async (t) => {
    if (!canIssue(t)) return
    const authority = new Authority()
    const [old, fresh] = [authority.issue('/CN=old'), authority.issue('/CN=new')]
    put(old)
    const rig = await Rig.start(postgres, { client: { tls: { mode: 'allow', ...pair } } })
    await using inside = await rig.client({ ssl: 'request' })
    const seen = new Set<string>()
    let isOver = false
    const logins = async (): Promise<void> => {
      while (!isOver) seen.add(await shown(rig.test))
    }
    const running = [logins(), logins()]
    copyFileSync(fresh.certFile, pair.certFile)
    await pause(1000)
    assert.deepEqual([...seen], [serialOf(old)])
    assert.equal(told(rig.test, KEPT).length, 1)
    copyFileSync(fresh.keyFile, pair.keyFile)
    const since = performance.now()
    await eventually(async () => (await shown(rig.test)) === serialOf(fresh))
    assert.ok(performance.now() - since < 1500, 'within a second, on a machine that is busy')
    isOver = true
    await Promise.all(running)
    assert.deepEqual(seen, new Set([serialOf(old), serialOf(fresh)]))
    assert.equal(told(rig.test, KEPT).length, 1)
    assert.equal((await inside.query('select 1')).error, null)
    await rig.stop()
  })

  it('of the port for WebSocket and HTTP: the new pair counts, who is in stays in', async (t) => {
    if (!canIssue(t)) return
    const authority = new Authority()
    const [old, fresh, third] = ['/CN=old', '/CN=new', '/CN=third'].map((name) => authority.issue(name))
    put(old!)
    const serverless = { host: '127.0.0.1', port: 0, tls: pair }
    const rig = await Rig.start(postgres, { client: { auth: 'trust' }, serverless })
    const { pooler } = rig.test
    const web = { port: pooler.addresses.serverless?.port ?? 0, secure: true }
    const seen = async (): Promise<string> => {
      const socket = (await openRaw(web)) as TLSSocket
      const serial = socket.getPeerX509Certificate()?.serialNumber
      socket.destroy()
      return serial ?? ''
    }
    await using inside = await rig.client({ web })
    assert.equal(await seen(), serialOf(old!))
    put(fresh!)
    await eventually(async () => (await seen()) === serialOf(fresh!))
    put(third!)
    pooler.reload(merge(pooler.config, { pool: { size: 5 } }))
    assert.equal(await seen(), serialOf(third!))
    const without = merge(pooler.config, { serverless: { tls: { certFile: '', keyFile: '' } } })
    const { needsRestart } = pooler.reload(without)
    assert.deepEqual(needsRestart, ['serverless.tls.cert_file', 'serverless.tls.key_file'])
    assert.equal(await seen(), serialOf(third!), 'a port does not lose its TLS while it is open')
    assert.equal((await inside.query('select 1')).error, null)
    assert.ok(pooler.gauges().certificates?.has(pair.certFile))
    await rig.stop()
  })

  it('half a file, no file, another one by rename: only whole pairs count', async (t) => {
    if (!canIssue(t)) return
    const authority = new Authority()
    const [old, fresh] = [authority.issue('/CN=old'), authority.issue('/CN=new')]
    put(old)
    const rig = await Rig.start(postgres, { client: { tls: { mode: 'allow', ...pair } } })
    const { length } = readFileSync(fresh.certFile)
    writeFileSync(pair.certFile, readFileSync(fresh.certFile).subarray(0, length / 2))
    await eventually(() => told(rig.test, KEPT).length === 1)
    assert.equal(await shown(rig.test), serialOf(old))
    rmSync(pair.certFile)
    await eventually(() => told(rig.test, KEPT).length === 2)
    assert.equal(await shown(rig.test), serialOf(old))
    copyFileSync(fresh.keyFile, `${pair.keyFile}.new`)
    copyFileSync(fresh.certFile, `${pair.certFile}.new`)
    renameSync(`${pair.keyFile}.new`, pair.keyFile)
    renameSync(`${pair.certFile}.new`, pair.certFile)
    await eventually(async () => (await shown(rig.test)) === serialOf(fresh))
    await rig.stop()
  })

  it('a reload with a pair that does not match changes nothing', async (t) => {
    if (!canIssue(t)) return
    const authority = new Authority()
    const [old, fresh] = [authority.issue('/CN=old'), authority.issue('/CN=new')]
    put(old)
    const rig = await Rig.start(postgres, { pool: { size: 3 }, client: { tls: { mode: 'allow', ...pair } } })
    copyFileSync(fresh.certFile, pair.certFile)
    const { pooler } = rig.test
    assert.throws(() => pooler.reload(merge(pooler.config, { pool: { size: 5 } })), /does not belong to/)
    assert.equal(pooler.config.pool.size, 3)
    assert.equal(await shown(rig.test), serialOf(old))
    copyFileSync(fresh.keyFile, pair.keyFile)
    pooler.reload(merge(pooler.config, { pool: { size: 5 } }))
    assert.equal(await shown(rig.test), serialOf(fresh))
    await rig.stop()
  })

  it('its end is told: before and after', async (t) => {
    if (!canIssue(t)) return
    const authority = new Authority()
    const [soon, later] = [authority.issue('/CN=soon', { days: 3 }), authority.issue('/CN=later')]
    put(soon)
    const rig = await Rig.start(postgres, { client: { tls: { mode: 'allow', ...pair } } })
    assert.equal(told(rig.test, 'will expire soon').length, 1)
    const metric = 'pgmux_tls_certificate_expiry_timestamp_seconds'
    const end = Date.parse(new X509Certificate(readFileSync(soon.certFile)).validTo) / 1000
    assert.ok((await rig.test.pooler.metrics()).includes(`${metric}{file="${pair.certFile}"} ${end}`))
    put(later)
    await eventually(async () => (await shown(rig.test)) === serialOf(later))
    assert.equal(told(rig.test, 'will expire soon').length, 1)
    put(authority.issue('/CN=gone', { days: -1 }))
    await eventually(() => told(rig.test, 'has expired').length === 1)
    await rig.stop()
  })
})

describe('authorities for Postgres', () => {
  it('that are others: servers trusted through the old ones are closed, and checked anew', async (t) => {
    if (!canIssue(t)) return
    const secured = await getPostgres()
    if (secured.kind !== 'embedded') {
      notRun(t, 'needs a Postgres whose TLS the test sets up')
      return
    }
    await useTls(secured)
    const caFile = join(folder, 'ca.crt')
    const own = readFileSync(testCertificate().certFile)
    writeFileSync(caFile, own)
    const rig = await Rig.start(secured, { upstream: { tls: { mode: 'verify-ca', caFile } } })
    await using client = await rig.client()
    const pid = await rig.pidOf(client)
    // The same authorities in another file: nobody is reconnected.
    writeFileSync(`${caFile}.new`, own)
    renameSync(`${caFile}.new`, caFile)
    await eventually(() => told(rig.test, 'certificates were read again').length === 1)
    assert.equal(await rig.pidOf(client), pid)
    copyFileSync(new Authority().caFile, caFile)
    await eventually(async () => assert.deepEqual(await rig.backends(), []))
    const { error } = await client.query('select 1')
    assert.match(String(error?.message), /certificate|query_wait_timeout/)
    writeFileSync(caFile, own)
    await eventually(async () => assert.equal((await client.query('select 1')).error, null))
    await rig.stop()
  })
})
