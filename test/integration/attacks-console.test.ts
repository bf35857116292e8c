// Ways into the console past the rules that are to keep somebody out, and ways to stay after one was sent
// away: each test is an attack that once worked. Must never use more than what a client on a wire has.
import assert from 'node:assert/strict'
import { suite, test } from 'node:test'
import { ADMIN, startConsole } from '../support/console.ts'
import { merge } from '../support/pooler.ts'
import * as m from '../support/messages.ts'
import { getPostgres } from '../support/postgres.ts'
import { LoginError, WireClient } from '../support/wire-client.ts'
import { hbaRules } from '../support/hba.ts'

const postgres = await getPostgres()

suite('the console behind pg_hba.conf', () => {
  test('a rule for one name of the console is one for the other', async () => {
    for (const [named, other] of [
      ['pgmux', 'pgbouncer'],
      ['pgbouncer', 'pgmux'],
    ] as const) {
      const hbaFile = hbaRules(`host ${named} all all reject`, 'host all all all trust')
      const rig = await startConsole(postgres, { client: { auth: 'hba', hbaFile } })
      for (const database of [named, other]) {
        const error = await rig.console({ database }).catch((thrown: unknown) => thrown)
        assert.ok(error instanceof LoginError, `the console was open as ${database}`)
        assert.equal(error.code, '28000')
        assert.match(error.message, /pg_hba\.conf rejects connection/)
      }
      await using client = await rig.client()
      assert.equal((await client.query('select 1')).error, null)
      await rig.test.stop()
    }
  })

  test('rules for replication do not open it', async () => {
    const hbaFile = hbaRules('host pgmux all all reject', 'host replication all all trust')
    const rig = await startConsole(postgres, { client: { auth: 'hba', hbaFile } })
    for (const replication of ['true', '1', 'on', 'YES', 'database']) {
      const error = await rig.console({ params: { replication } }).catch((thrown: unknown) => thrown)
      assert.ok(error instanceof LoginError, `the console was open with replication=${replication}`)
      assert.equal(error.code, '28000')
    }
    await rig.test.stop()
  })

  test('nobody replicates the console', async () => {
    const rig = await startConsole(postgres)
    for (const replication of ['true', 'database']) {
      const error = await rig.console({ params: { replication } }).catch((thrown: unknown) => thrown)
      assert.ok(error instanceof LoginError)
      assert.match(error.message, /FATAL 0A000: the console takes no replication connections/)
    }
    await using client = await rig.console({ params: { replication: 'off' } })
    assert.equal((await client.query('SHOW VERSION')).error, null)
    await rig.test.stop()
  })
})

suite('a user that a reload takes away', () => {
  const withoutAdmin = (config: Parameters<typeof merge>[0]) =>
    merge(config, { users: new Map([...config.users].filter(([name]) => name !== ADMIN.user)) })

  for (const database of ['pgmux', postgres.database]) {
    test(`does not end a login to ${database === 'pgmux' ? 'the console' : 'a database'}`, async () => {
      const rig = await startConsole(postgres, { client: { auth: 'password' } })
      const { host, port, pooler } = rig.test
      await using client = await WireClient.open({ host, port })
      client.send(m.startup({ user: ADMIN.user, database }))
      assert.equal((await client.next()).type, 'R')
      pooler.reload(withoutAdmin(pooler.config))
      client.send(m.password(ADMIN.password))
      const [last] = (await client.until('ZE')).slice(-1)
      assert.equal(last?.type === 'E' && last.code, '28P01')
      await client.closed
      await rig.test.stop()
    })
  }

  test('leaves the console', async () => {
    const rig = await startConsole(postgres)
    const { pooler } = rig.test
    await using client = await rig.console()
    pooler.reload(withoutAdmin(pooler.config))
    const [last] = await client.until('E')
    assert.equal(last?.type === 'E' && last.code, '57P01')
    await rig.test.stop()
  })
})
