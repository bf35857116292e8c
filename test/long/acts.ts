// Owns: what the applications of the long run do besides test/support/applications.ts: much data, slow
// reading, logins of all kinds, state of a session. Must never leave a connection with state that its
// application does not know of.
import assert from 'node:assert/strict'
import { setTimeout as pause } from 'node:timers/promises'
import { ACTS, type Act, type Application, STATEMENT_ACTS } from '../support/applications.ts'
import * as m from '../support/messages.ts'
import { LoginError, result, WireClient } from '../support/wire-client.ts'
import type { Doors } from './guarded.ts'
import type { Mode } from './world.ts'

const BULK_ROWS = 2000
const STORM = 12

/** Rows that all carry the mark; each is looked at. */
function assertRows(rows: readonly (string | null)[][], count: number, text: string): void {
  assert.equal(rows.length, count)
  for (const [at, row] of rows.entries()) {
    assert.equal(row[0], `${at + 1}`)
    assert.ok(row[1] === text, `row ${at + 1}: ${row[1]?.slice(0, 60)} instead of ${text.slice(0, 60)}`)
  }
}

async function large(app: Application, client: WireClient): Promise<void> {
  const mark = app.mark()
  const count = app.random.pick([10, 300, 3000])
  const sql = `select n, repeat('${mark}', 30) from generate_series(1, ${count}) n`
  const { rows } = await (app.random.chance(0.5) ? client.query(sql) : client.extended(sql))
  assertRows(rows, count, mark.repeat(30))
  app.count(1)
}

async function slowReader(app: Application, client: WireClient): Promise<void> {
  const mark = app.mark()
  const count = 4000
  client.send(m.query(`select n, repeat('${mark}', 200) from generate_series(1, ${count}) n`))
  await client.next()
  client.pause()
  await pause(app.random.between(50, 700))
  client.resume()
  assertRows(result(await client.until()).rows, count, mark.repeat(200))
  app.count(1)
}

async function bulkCopy(app: Application, client: WireClient): Promise<void> {
  const mark = app.mark()
  const nonce = Number(mark.slice(mark.indexOf(':') + 1, -1))
  const row = `${app.number}\t${nonce}\t${BULK_ROWS}\n`
  client.send(m.query('copy bulk from stdin'))
  await client.until('G')
  const piece = app.random.pick([1, 7, 100])
  for (let left = BULK_ROWS; left > 0; left -= piece)
    client.send(m.copyData(row.repeat(Math.min(piece, left))))
  if (app.random.chance(0.2)) {
    const failed = await client.run(m.copyFail(mark))
    assert.equal(failed.error?.code, '57014')
    assert.ok(failed.error.message.includes(mark))
  } else {
    assert.equal((await client.run(m.copyDone())).tag, `COPY ${BULK_ROWS}`)
    const own = `client = ${app.number} and nonce = ${nonce}`
    const { rows } = await client.query(`select count(*) from bulk where ${own}`)
    assert.deepEqual(rows, [[`${BULK_ROWS}`]])
    app.count(1)
  }
  app.count(1)
}

async function settingComesAndGoes(app: Application, client: WireClient): Promise<void> {
  const show = async () => (await client.query('show DateStyle')).rows[0]?.[0]
  const before = await show()
  assert.equal((await client.query("set DateStyle to 'German'")).error, null)
  assert.equal(await show(), 'German, DMY')
  const { rows } = await client.extended("select date '2024-03-01'::text")
  assert.deepEqual(rows, [['01.03.2024']])
  assert.equal((await client.query('reset DateStyle')).error, null)
  assert.equal(await show(), before)
  app.count(6)
}

async function settingOfTransaction(app: Application, client: WireClient): Promise<void> {
  const show = async () => (await client.query('show IntervalStyle')).rows[0]?.[0]
  const before = await show()
  const isLocal = app.random.chance(0.5)
  await client.query('begin')
  await client.query(`set ${isLocal ? 'local ' : ''}IntervalStyle to 'iso_8601'`)
  assert.equal(await show(), 'iso_8601')
  const end = isLocal && app.random.chance(0.5) ? 'COMMIT' : 'ROLLBACK'
  assert.equal((await client.query(end)).tag, end)
  assert.equal(await show(), before)
  app.count(6)
}

async function savepoints(app: Application, client: WireClient): Promise<void> {
  const mark = app.mark()
  const nonce = Number(mark.slice(mark.indexOf(':') + 1, -1))
  const insert = (number: number) => `insert into ledger values (${app.number}, ${number}, 'savepoint')`
  assert.equal((await client.query(`begin; ${insert(nonce)}; savepoint a; ${insert(-3)}`)).status, 'T')
  assert.equal((await client.query('select 1/0')).error?.code, '22012')
  const refused = await client.extended(insert(-4))
  assert.equal(refused.error?.code, '25P02')
  assert.equal(refused.status, 'E')
  assert.equal((await client.query('rollback to a')).status, 'T')
  app.count(4)
  app.doubtful.push(nonce)
  const { tag, status } = await client.query('commit')
  assert.deepEqual([tag, status], ['COMMIT', 'I'])
  app.acknowledged.push(nonce)
  app.count(1)
}

async function blockRefused(app: Application, client: WireClient): Promise<void> {
  const { error, status } = await client.query('begin')
  assert.equal(error?.code, '0A000')
  assert.equal(error.severity, 'ERROR')
  assert.equal(status, 'I')
  app.count(1)
}

/** Its own notification, and nobody else's. */
async function listen(app: Application, client: WireClient): Promise<void> {
  const mark = app.mark()
  await client.query(`listen "channel of ${app.number}"`)
  const { messages } = await client.query(`notify "channel of ${app.number}", '${mark}'`)
  const told = messages.filter((message) => message.type === 'A').map((message) => message.payload)
  assert.deepEqual(told, [mark])
  app.count(2)
  if (app.random.chance(0.5)) app.vanish(client)
  else await client.query('unlisten *')
}

/** All that DISCARD ALL must take away behind it. */
async function sessionState(app: Application, client: WireClient): Promise<void> {
  const mark = app.mark()
  const made = await client.query(
    'create temp table if not exists mine (mark text); select count(*) from pg_listening_channels();' +
      `select pg_advisory_lock(${app.number}); set app.mine = '${mark}'; insert into mine values ('${mark}')`,
  )
  assert.equal(made.error, null)
  const read = `select current_setting('app.mine'), count(*) from mine where mark = '${mark}'`
  assert.deepEqual((await client.extended(read)).rows, [[mark, '1']])
  app.count(2)
  if (app.random.chance(0.3)) app.vanish(client)
  else await app.forget()
}

/** Nothing of whoever had this server before. */
async function freshSession(app: Application): Promise<void> {
  await app.forget()
  const client = await app.client()
  const { rows } = await client.query(
    "select to_regclass('pg_temp.mine'), coalesce(current_setting('app.mine', true), ''), " +
      '(select count(*) from pg_listening_channels()), ' +
      "(select count(*) from pg_locks where locktype = 'advisory' and pid = pg_backend_pid())",
  )
  assert.deepEqual(rows, [[null, '', '0', '0']])
  app.count(1)
}

/** The acts that need connections of their own. */
function visits(doors: Doors, mode: Mode): Act[] {
  // Whoever waits for a server with another one in hand may wait for somebody who does the same.
  const letGo = async (app: Application) => {
    if (mode === 'session') await app.forget()
  }
  const refused = async (app: Application, wrong: object, code: string) => {
    const refusal = await WireClient.connect({ ...app.target, ...wrong }).then(
      () => assert.fail('a login that must be refused has succeeded'),
      (error: unknown) => error,
    )
    if (!(refusal instanceof LoginError)) throw refusal
    assert.equal(refusal.code, code)
  }
  return [
    async function wrongPassword(app) {
      await refused(app, { password: app.mark() }, '28P01')
    },
    async function unknownDatabase(app) {
      await refused(app, { database: 'nowhere' }, '3D000')
    },
    async function abandonedLogin(app) {
      const client = await WireClient.open({ ...app.target, ssl: false })
      const packet = m.startup({ user: app.target.user ?? '', database: app.target.database ?? '' })
      client.send(packet.subarray(0, app.random.between(1, packet.length)))
      client.destroy()
      await client.closed
    },
    async function storm(app) {
      await letGo(app)
      const visit = async () => {
        const mark = app.mark()
        await using client = await doors.enter(app.target)
        assert.deepEqual((await client.extended('select $1::text', [mark])).rows, [[mark]])
        app.count(1)
        if (app.random.chance(0.5)) await client.end()
      }
      const all = await Promise.allSettled(Array.from({ length: STORM }, visit))
      for (const one of all) if (one.status === 'rejected') throw one.reason
    },
    async function otherBaseline(app) {
      await letGo(app)
      await using client = await doors.enter({ ...app.target, params: { statement_timeout: '61s' } })
      assert.deepEqual((await client.query('show statement_timeout')).rows, [['61s']])
      app.count(1)
      await client.end()
    },
  ]
}

const SOME: readonly Act[] = [large, slowReader, bulkCopy, settingComesAndGoes]

/** What applications of a pool in this mode do. */
export function actsOf(mode: Mode, doors: Doors): readonly Act[] {
  const everywhere = [...SOME, ...visits(doors, mode)]
  if (mode === 'statement') return [...STATEMENT_ACTS, ...STATEMENT_ACTS, ...everywhere, blockRefused]
  const blocks = [...ACTS, ...ACTS, ...everywhere, settingOfTransaction, savepoints]
  return mode === 'session' ? [...blocks, listen, sessionState, freshSession] : blocks
}
