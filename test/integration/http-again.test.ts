// Several requests on one connection: what was found out about the first is not held to be so of the next.
import assert from 'node:assert/strict'
import { Agent } from 'node:http'
import { after, describe, it } from 'node:test'
import { Doorstep } from '../support/doorstep.ts'
import { isSecret } from '../support/known-secrets.ts'
import { getPostgres } from '../support/postgres.ts'
import { until } from '../support/waits.ts'

const postgres = await getPostgres()
const doorstep = await Doorstep.create(postgres)

describe('requests on one connection', () => {
  const agent = new Agent({ keepAlive: true, maxSockets: 1 })
  let connections = 0
  const { createConnection } = agent
  agent.createConnection = (...args) => {
    connections++
    return createConnection.apply(agent, args)
  }
  after(() => agent.destroy())

  it('each show their own password, user and database', async () => {
    const pooler = await doorstep.start({ failureRate: 0 })
    const statusOf = async (url?: string): Promise<unknown> => {
      const { status, body } = await doorstep.send(pooler, { agent, ...(url === undefined ? {} : { url }) })
      return status === 200 ? body.rows?.[0]?.[0] : body.code
    }
    const own = new URL(doorstep.url(postgres.password, postgres.user)).href
    connections = 0
    for (let round = 0; round < 2; round++) {
      assert.equal(await statusOf(), 'door')
      assert.equal(await statusOf(doorstep.url('another-password')), '28P01')
      assert.equal(await statusOf(doorstep.url('')), '28P01')
      assert.equal(await statusOf(), 'door')
      assert.equal(await statusOf(own), postgres.user)
      assert.equal(await statusOf(doorstep.url(undefined, postgres.user)), '28P01')
      const elsewhere = new URL(doorstep.url())
      elsewhere.pathname = '/no_such_database'
      assert.equal(await statusOf(elsewhere.href), '3D000')
    }
    assert.equal(connections, 1)
  })

  it('show a password that has been changed meanwhile in vain', async () => {
    // Postgres is not asked: whoever is let in gets an answer.
    const { user, password } = postgres
    const pooler = await doorstep.start({ failureRate: 0 }, { upstream: { user, password } })
    const codeOf = async (url: string): Promise<unknown> =>
      (await doorstep.send(pooler, { agent, url })).body.code
    const old = doorstep.url()
    for (let n = 0; n < 2; n++) assert.equal(await codeOf(old), undefined)
    const { config } = pooler.pooler
    const door = { ...config.users.get('door')!, secret: 'changed-password' }
    isSecret('a changed password', door.secret)
    pooler.pooler.reload({ ...config, users: new Map([...config.users, ['door', door]]) })
    connections = 0
    for (let n = 0; n < 2; n++) assert.equal(await codeOf(old), '28P01')
    assert.equal(await codeOf(doorstep.url('changed-password')), undefined)
    pooler.pooler.reload(config)
    assert.equal(await codeOf(old), undefined)
    assert.equal(connections, 0)
  })

  it('and one that Postgres says has changed', async (t) => {
    const { user, password, database } = postgres
    const client = { auth: 'scram-sha-256' as const, authQuery: { user, password, database } }
    const upstream = { user, password }
    const pooler = await doorstep.start({ failureRate: 0 }, { client, upstream, users: new Map() })
    const codeOf = async (url: string, by?: Agent): Promise<unknown> =>
      (await doorstep.send(pooler, by === undefined ? { url } : { url, agent: by })).body.code
    const old = doorstep.url()
    for (let n = 0; n < 2; n++) assert.equal(await codeOf(old, agent), undefined)
    await postgres.admin("alter role door password 'password-of-today'")
    t.after(() => postgres.admin("alter role door password 'password-of-door'"))
    connections = 0
    // Somebody else's login, with the new one, has it asked for.
    await until(
      async () => (await codeOf(doorstep.url('password-of-today'))) === undefined,
      () => 'the new password is not taken',
    )
    assert.equal(await codeOf(old, agent), '28P01')
    assert.equal(connections, 0)
  })
})
