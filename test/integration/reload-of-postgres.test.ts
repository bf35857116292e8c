// A setting whose default changes in Postgres while clients are connected (RULES 6): who has no value of its
// own is told and follows, who has one keeps it.
import assert from 'node:assert/strict'
import { it } from 'node:test'
import { startPooler } from '../support/pooler.ts'
import { getPostgres } from '../support/postgres.ts'
import { WireClient } from '../support/wire-client.ts'

it('a new default reaches idle clients without a value of their own, and nobody else', async () => {
  const postgres = await getPostgres()
  const pooler = await startPooler(postgres.url)
  const { user, password, database } = postgres
  const connect = (params: Record<string, string> = {}) =>
    WireClient.connect({ host: pooler.host, port: pooler.port, user, password, database, params })
  const follower = await connect()
  const own = await connect({ TimeZone: 'Asia/Tokyo' })
  const setter = await connect()
  try {
    await setter.query("SET TimeZone = 'America/Lima'")
    await follower.query('select 1')
    await postgres.admin("ALTER SYSTEM SET TimeZone = 'Pacific/Auckland'")
    await postgres.admin('SELECT pg_reload_conf()')
    await waitFor(async () => {
      const [row] = await postgres.admin("SELECT current_setting('TimeZone') AS zone")
      return row?.zone === 'Pacific/Auckland'
    })
    // The servers that are there keep what they were told to be; a new one shows the new default.
    await postgres.admin(
      'SELECT pg_terminate_backend(pid) FROM pg_stat_activity' +
        " WHERE usename = $1 AND pid <> pg_backend_pid() AND backend_type = 'client backend'",
      [user],
    )
    // Their ends have been read: nobody is given one of them any more.
    await waitFor(async () => {
      await postgres.admin('SELECT 1')
      const { idle, active } = pooler.pooler.gauges().servers
      return idle + active === 0
    })
    assert.equal((await setter.query('SHOW TimeZone')).rows[0]?.[0], 'America/Lima')
    const told = await follower.until('S')
    assert.deepEqual(
      told.map((message) => message.type),
      ['S'],
    )
    assert.equal(follower.parameters.get('TimeZone'), 'Pacific/Auckland')
    assert.equal((await follower.query('SHOW TimeZone')).rows[0]?.[0], 'Pacific/Auckland')
    assert.equal((await own.query('SHOW TimeZone')).rows[0]?.[0], 'Asia/Tokyo')
  } finally {
    await postgres.admin('ALTER SYSTEM RESET TimeZone')
    await postgres.admin('SELECT pg_reload_conf()')
    for (const client of [follower, own, setter]) client.destroy()
    await pooler.stop()
  }
})

/** Asks until it holds; each question is a round trip, so it does not spin. */
async function waitFor(holds: () => Promise<boolean>): Promise<void> {
  for (let tries = 0; tries < 200; tries++) if (await holds()) return
  assert.fail('it did not come to pass')
}
