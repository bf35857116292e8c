// Much text, in one statement and in very many, through transaction mode, where each is judged before it is
// sent: nobody else waits for that, and nothing of it stays. Must never call wrong what only a busy machine
// makes slow.
import assert from 'node:assert/strict'
import { after, before, suite, test } from 'node:test'
import { direct } from '../support/compare.ts'
import { Healthy } from '../support/healthy.ts'
import * as m from '../support/messages.ts'
import { type PoolerProcess, startPoolerProcess } from '../support/pooler-process.ts'
import { getPostgres } from '../support/postgres.ts'
import { WireClient } from '../support/wire-client.ts'

const MB = 1024 * 1024
const SIZE = 10 * MB
/** What the allocator may keep above the process at work on small things. */
const REMAINS = 48 * MB
/** The aim is 20 ms; the grammar would take 3.6 s for such a text. */
const DELAY_MS = 100
const LONG = process.env.LONG === '1'
/** Each of them with words that matter, so that the grammar sees it. */
const STATEMENTS = LONG ? 100_000 : 5000
const AT_ONCE = 500

const postgres = await getPostgres()

/** A text of 10 MB: this again and again, between a beginning and an end. */
function long(piece: string, head = '', tail = ''): string {
  return head + piece.repeat(Math.ceil(SIZE / piece.length)) + tail
}

/** Text, and the SQLSTATE that Postgres has for it; '' : none. */
const TEXTS: Readonly<Record<string, readonly [text: string, code: string]>> = {
  'a list of calls': [
    long("'temp', set_config('app.a', 'b', true), ", 'select 1 where 1 in (', '1'),
    '42601',
  ],
  'nested comments': [long('/* set a.b = 1; */ ', '/* ', '*/ select 1'), ''],
  'comments that do not end': [long('/* '), '42601'],
  'a quote that does not end': [long('x ', "select 'set a.b = 1; "), '42601'],
  'a dollar quote that does not end': [long('set a.b = 1; ', 'select $y$ '), '42601'],
  'many statements': [long('; ', 'select 1', "; set work_mem = '5MB'"), ''],
}

suite('much SQL', () => {
  let pooler: PoolerProcess
  let healthy: Healthy
  let client: WireClient
  let base = 0

  before(async () => {
    pooler = await startPoolerProcess(postgres.url, {
      client: { auth: 'trust' },
      pool: { mode: 'transaction', size: 3 },
    })
    const address = { ...direct(postgres), host: pooler.host, port: pooler.port }
    healthy = await Healthy.start(address)
    client = await WireClient.connect({ ...address, timeout: 60_000 })
    await client.query(long("set_config ''a'' ", "select length('", "')"))
    await some(0)
    base = (await pooler.memory()).rss
    await pooler.delay()
  })
  after(async () => {
    await client.end()
    await healthy.stop()
    await pooler.stop()
  })

  /** So many statements that nobody has sent before. */
  async function some(from: number): Promise<void> {
    const texts = Array.from({ length: AT_ONCE }, (_, n) => `select set_config('app.n', '${from + n}', true)`)
    client.send(...texts.map((text) => m.query(text)))
    for (const _ of texts) await client.until('Z')
    client.received.length = 0
  }

  async function isFlat(): Promise<string> {
    await healthy.goesOn()
    const delay = await pooler.delay()
    const { rss } = await pooler.memory()
    await pooler.delay()
    assert.ok(delay < DELAY_MS, `the event loop was held up for ${Math.round(delay)} ms`)
    assert.ok(rss - base < REMAINS, `${Math.round((rss - base) / MB)} MiB remain in use`)
    return `held up for ${delay.toFixed(1)} ms, ${((rss - base) / MB).toFixed(1)} MiB remain`
  }

  for (const [name, [text, code]] of Object.entries(TEXTS)) {
    // Of those that fail Postgres tells all of the text.
    if (!LONG && code !== '') continue
    test(`10 MB: ${name}`, async (t) => {
      const simple = await client.query(text)
      assert.equal(simple.error?.code ?? '', code)
      const { error } = await client.extended(text)
      assert.equal(error?.code ?? '', name === 'many statements' ? '42601' : code)
      client.received.length = 0
      t.diagnostic(await isFlat())
    })
  }

  test('what such a text has set follows', async () => {
    assert.deepEqual((await client.query('show work_mem')).rows, [['5MB']])
  })

  test(`${STATEMENTS} different statements`, async (t) => {
    for (let from = AT_ONCE; from < STATEMENTS; from += AT_ONCE) await some(from)
    t.diagnostic(await isFlat())
  })
})
