// LISTEN, UNLISTEN and NOTIFY in transaction mode: a client sees what it sees on a connection of its own,
// however few servers there are. Each script runs there and through pools of one and of two servers, with a
// rival who listens and notifies on the same servers in between.
// Hazard: A13 (notifications go to a stranger, or to nobody).
import assert from 'node:assert/strict'
import { suite, test } from 'node:test'
import { direct, type Script, type Stage, stage, through } from '../support/compare.ts'
import * as m from '../support/messages.ts'
import { getPostgres } from '../support/postgres.ts'
import { eventually } from '../support/rig.ts'
import { normalise } from '../support/transcript.ts'
import { WireClient } from '../support/wire-client.ts'

const postgres = await getPostgres()
await postgres.admin(
  `create function listens(name text) returns void language plpgsql as
     $$ begin execute format('listen %I', name); end $$`,
)
/** An answer may wait for long: what comes late is a mistake, not a busy machine. */
const session = { notifyWaitMs: 20_000 }
const stages = [
  await stage(postgres, 'one server', { pool: { mode: 'transaction', size: 1 }, session }),
  await stage(postgres, 'two servers', { pool: { mode: 'transaction', size: 2 }, session }),
]
/** Where Postgres listens itself. */
const sessions = await stage(postgres, 'session mode', { pool: { mode: 'session', size: 4 } })
const CHANNELS = 'select * from pg_listening_channels() order by 1'

/** One who uses the same servers, listens to the same channels and to others, and gives them up again. */
async function disturb(rival: WireClient): Promise<void> {
  await rival.query("listen rivals; listen news; notify rivals, 'to itself'")
  await rival.query('unlisten news')
}

async function transcriptOf(stage: Stage | null, script: Script): Promise<string[]> {
  const options = stage === null ? direct(postgres) : through(stage.pooler, postgres)
  await using client = await WireClient.connect(options)
  await using rival = stage === null ? null : await WireClient.connect(options)
  await script(client, async () => {
    if (rival !== null) await disturb(rival)
  })
  const said = normalise(client.received)
  // A session's own notifications carry its own number.
  const pids = new Set(client.received.flatMap((message) => (message.type === 'A' ? [message.pid] : [])))
  return [...said, `own only: ${pids.size === 0 || (pids.size === 1 && pids.has(client.pid))}`]
}

/** A script whose notifications are all of its own making: the order of messages is Postgres'. */
function same(name: string, script: Script): void {
  test(name, async () => {
    const expected = await transcriptOf(null, script)
    for (const stage of [...stages, sessions])
      assert.deepEqual(await transcriptOf(stage, script), expected, stage.name)
  })
}

suite('as on a connection of its own', () => {
  same("a session's own notifications come before its ReadyForQuery, with its own number", async (client) => {
    await client.query("listen news; notify news, 'at once'")
    await client.query("notify news, 'later'")
    await client.query("select pg_notify('news', n::text) from generate_series(1, 3) n")
    await client.query("notify other, 'nobody listens'")
    await client.extended('select pg_notify($1, $2)', ['news', 'bound'])
    await client.query("begin; notify news, 'in a transaction'")
    await client.query("notify news, 'twice'; notify news, 'twice'")
    await client.query('commit')
    await client.query("begin; notify news, 'rolled back'; rollback")
    await client.query("notify news; select 1; notify news, 'with an error'; select 1/0")
  })

  same('in one write behind a DISCARD ALL, done or failed', async (client, rival) => {
    const all = [m.parse('discard all'), m.bind(), m.execute()]
    const channels = [m.parse(CHANNELS), m.bind(), m.execute()]
    const writes = [
      [m.query('discard all'), m.query(CHANNELS)],
      [m.query('discard all'), m.query('unlisten a'), m.query('listen c'), m.query(CHANNELS)],
      [m.query('discard all'), m.query("notify a, 'nobody'"), ...channels, m.sync()],
      [...all, m.sync(), ...channels, m.sync()],
      [...all, ...channels, m.sync(), ...channels, m.sync()],
      [m.query('begin'), m.query('discard all'), m.query(CHANNELS), m.query('rollback'), m.query(CHANNELS)],
      [m.query('begin'), ...all, ...channels, m.sync(), m.query('rollback'), ...channels, m.sync()],
      [m.query('listen c'), m.query('discard all'), m.query('listen d'), m.query(CHANNELS)],
    ]
    for (const write of writes) {
      await client.query('listen a; listen b')
      await rival()
      client.send(...write)
      const count = write.filter((bytes) => bytes[0] === 0x51 || bytes[0] === 0x53).length
      for (let answered = 0; answered < count; answered++) await client.until('Z')
      await rival()
      await client.query(CHANNELS)
      await client.query("notify a, 'behind'")
    }
  })

  same('LISTEN and UNLISTEN take effect at COMMIT, and not at ROLLBACK', async (client, rival) => {
    await client.query('begin; listen a; listen b')
    await client.query(CHANNELS)
    await client.query('commit')
    await rival()
    await client.query(CHANNELS)
    await client.query('begin; listen c')
    await client.query('unlisten a')
    await client.query('rollback')
    await rival()
    await client.query(CHANNELS)
    await client.query('begin')
    await client.query('unlisten *')
    await client.query('listen d')
    await client.query('commit')
    await rival()
    await client.query(CHANNELS)
    await client.query("notify a; notify b; notify d, 'x'")
    await client.query('listen e; select 1/0')
    await client.query('unlisten d; select 1/0')
    await rival()
    await client.query(CHANNELS)
  })

  same('savepoints: what was rolled back did not happen', async (client, rival) => {
    await client.query('listen a; listen b')
    await rival()
    await client.query('begin')
    await client.query('savepoint s; unlisten a')
    await client.query('rollback to s')
    await client.query('unlisten b')
    await client.query('savepoint t; unlisten *; listen c')
    await client.query('rollback to t')
    await client.query('listen d')
    await client.query('commit')
    await rival()
    await client.query(CHANNELS)
    await client.query('begin; savepoint s')
    await client.query('unlisten a')
    await client.query('rollback to s; commit')
    await rival()
    await client.query(CHANNELS)
    await client.query('begin; savepoint s')
    await client.query('unlisten a; select 1/0')
    await client.query('rollback to s')
    await client.query('unlisten d; release s')
    await client.query('commit and chain')
    await client.query('unlisten a')
    await client.query('rollback and chain')
    await client.query('listen f; commit')
    await rival()
    await client.query(CHANNELS)
  })

  same('UNLISTEN outside a transaction, of what is there and what is not', async (client, rival) => {
    await client.query('unlisten nothing')
    await client.query('listen a; listen b; listen c')
    await rival()
    await client.query('unlisten b')
    await rival()
    await client.query('unlisten nothing')
    await client.query(CHANNELS)
    await client.query('listen b; unlisten a')
    await rival()
    await client.query(CHANNELS)
    await client.query('unlisten *')
    await rival()
    await client.query(CHANNELS)
    await client.query("listen a; notify a, 'again'")
  })

  same('DISCARD ALL ends them, DISCARD PLANS and RESET ALL do not', async (client, rival) => {
    await client.query('listen a')
    await client.query('discard plans')
    await client.query('reset all')
    await rival()
    await client.query(CHANNELS)
    await client.query('discard all')
    await rival()
    await client.query(CHANNELS)
    await client.query("notify a, 'nobody'")
    await client.query("listen a; notify a, 'somebody'")
    await client.run(m.parse('discard all'), m.bind(), m.execute(), m.sync())
    await client.query(CHANNELS)
  })

  same('in batches, named and unnamed, in the middle and at their beginning', async (client, rival) => {
    await client.run(
      m.parse('listen a'),
      m.bind(),
      m.execute(),
      m.parse('listen b'),
      m.bind(),
      m.execute(),
      m.sync(),
    )
    await rival()
    await client.run(
      m.parse(CHANNELS, { name: 'channels' }),
      m.bind({ statement: 'channels' }),
      m.execute(),
      m.sync(),
    )
    await client.run(m.parse('unlisten a', { name: 'u' }), m.sync())
    await rival()
    await client.run(m.bind({ statement: 'u' }), m.execute(), m.sync())
    await rival()
    await client.run(m.bind({ statement: 'channels' }), m.execute(), m.sync())
    // The second part fails, and takes the first with it.
    await client.run(
      ...[m.parse('select 1'), m.bind(), m.execute(), m.parse('unlisten b'), m.bind(), m.execute()],
      ...[m.parse('select 1/0'), m.bind(), m.execute(), m.sync()],
    )
    await rival()
    await client.run(m.bind({ statement: 'channels' }), m.execute(), m.sync())
    // Behind something that has nothing to do with channels, in one transaction with it.
    await client.run(
      ...[m.parse('select 1'), m.bind(), m.execute(), m.parse('unlisten b'), m.bind(), m.execute()],
      ...[m.parse('listen c'), m.bind(), m.execute(), m.sync()],
    )
    await client.run(m.bind({ statement: 'channels' }), m.execute(), m.sync())
    await client.run(m.parse('begin'), m.bind(), m.execute(), m.sync())
    await client.run(
      m.bind({ statement: 'u' }),
      m.execute(),
      m.parse('unlisten c'),
      m.bind(),
      m.execute(),
      m.sync(),
    )
    await client.run(m.parse("notify c, 'not any more'"), m.bind(), m.execute(), m.sync())
    await client.run(m.parse('commit'), m.bind(), m.execute(), m.sync())
    await client.run(m.bind({ statement: 'channels' }), m.execute(), m.sync())
  })

  same('the unnamed statement survives what is done for channels', async (client, rival) => {
    await client.query('listen a; listen b')
    await rival()
    await client.run(m.parse('unlisten a'), m.sync())
    await rival()
    await client.run(m.bind(), m.execute(), m.sync())
    await client.run(m.bind(), m.execute(), m.sync())
    await client.run(m.parse("select 'kept'"), m.sync())
    await client.run(m.bind(), m.execute(), m.sync())
    await client.query(CHANNELS)
  })

  same('pipelines of exchanges that listen, notify and give up', async (client) => {
    const texts = ['listen a', "notify a, '1'", 'begin', 'unlisten a', 'rollback', "notify a, '2'"]
    client.send(
      ...[...texts, 'unlisten a', "notify a, '3'", 'listen a; listen b'].map((text) => m.query(text)),
    )
    for (let exchange = 0; exchange < texts.length + 3; exchange++) await client.until('Z')
    await client.query(CHANNELS)
    await client.query("notify a, '4'; notify b, '5'")
  })

  same('errors are those of Postgres', async (client, rival) => {
    await client.query('listen')
    await client.query("listen 'a'")
    await client.query('begin; select 1/0')
    await client.query('listen a')
    await client.query('rollback')
    await client.query('listen a')
    await rival()
    await client.query('begin; select 1/0')
    await client.query('unlisten a')
    await client.query('commit')
    await client.query("select pg_notify('', '')")
    await client.query(`select pg_notify('a', repeat('x', 8000))`)
    await client.query("begin; notify a, 'x'; prepare transaction 'listens'")
    await client.query(CHANNELS)
  })

  same('names that need quotes, and long ones', async (client, rival) => {
    const long = 'x'.repeat(70)
    // Of the last one Postgres keeps 62 bytes: a letter is not cut in two.
    for (const name of ['"A b"', '"a""b"', '"x;y"', 'UPPER', 'grün', `"${long}"`, `"${'y'.repeat(62)}ü"`])
      await client.query(`listen ${name}`)
    await rival()
    await client.query(CHANNELS)
    await client.query(`notify "A b", '1'; notify "a""b", '2'; notify upper, '3'; notify grün, 'ü'`)
    await client.query('unlisten "a""b"')
    await client.query(`unlisten "${'y'.repeat(70)}"; unlisten ${long}`)
    await rival()
    await client.query(CHANNELS)
  })

  same('payloads of all lengths', async (client) => {
    await client.query('listen a')
    for (const length of [0, 1, 7999]) await client.query(`select pg_notify('a', repeat('x', ${length}))`)
    await client.query(`notify a, '${'y'.repeat(7999)}'`)
    await client.query(`notify a, '${'y'.repeat(8000)}'`)
  })

  same('hidden in a function, a DO block or another statement', async (client, rival) => {
    await client.query("select listens('hidden')")
    await rival()
    await client.query(CHANNELS)
    await client.query("do $$ begin unlisten hidden; listen shown; perform pg_notify('shown', 'x'); end $$")
    await rival()
    await client.query(CHANNELS)
    await client.query('begin')
    await client.query("select listens('third')")
    await client.query('rollback')
    await rival()
    await client.query(CHANNELS)
  })
})

suite('beside others', () => {
  for (const stage of stages) {
    test(`who listens and notifies is known to the others by its own number: ${stage.name}`, async () => {
      await using author = await WireClient.connect(through(stage.pooler, postgres))
      await using other = await WireClient.connect(through(stage.pooler, postgres))
      for (const client of [author, other]) await client.query('listen mutual')
      for (const text of ["notify mutual, 'a'", "begin; notify mutual, 'a'; commit"]) {
        await author.query(text)
        const said = (await other.until('A')).at(-1)
        assert.ok(said?.type === 'A' && said.payload === 'a')
        assert.equal(said.pid, author.pid)
      }
    })

    test(`who does not listen hears nothing, and no server is kept: ${stage.name}`, async () => {
      const { pooler } = stage.pooler
      await using stranger = await WireClient.connect(through(stage.pooler, postgres))
      await using listener = await WireClient.connect(through(stage.pooler, postgres))
      await listener.query('listen news')
      await eventually(() => pooler.gauges().clients.active === 0)
      await stranger.query("notify news, 'from a stranger'")
      const [message] = await listener.until('A')
      assert.ok(message?.type === 'A' && message.payload === 'from a stranger')
      assert.notEqual(message.pid, listener.pid)
      for (let n = 0; n < 5; n++) await stranger.query('select 1')
      await eventually(() => pooler.gauges().clients.active === 0)
      assert.equal(stranger.received.filter(({ type }) => type === 'A').length, 0)
      assert.deepEqual(pooler.gauges().listening, { servers: 1, channels: 1, subscribers: 1 })
      await listener.end()
      await eventually(() => pooler.gauges().listening?.channels === 0)
    })
  }
})
