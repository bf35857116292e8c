// Owns: applications that share a pooler with many others: what each believes about its session, and acts
// whose every answer is checked against that belief. Must never ask the pooler itself anything.
import assert from 'node:assert/strict'
import * as m from './messages.ts'
import type { Prng } from './prng.ts'
import { type ClientOptions, result, WireClient } from './wire-client.ts'

/** One application: what it believes about its session, and what it has been promised. */
export class Application {
  readonly number: number
  readonly random: Prng
  readonly target: ClientOptions
  exchanges = 0
  logins = 0
  vanished = 0
  /** Nonces of inserts that were acknowledged, and of all that may have been done. */
  readonly acknowledged: number[] = []
  readonly doubtful: number[] = []
  /** Name of the last act that was begun. */
  lastAct = ''
  readonly #acts: readonly Act[]
  #client: WireClient | null = null
  #nonce = 0
  #names = new Map<string, string>()
  #settings = new Map<string, string>()

  /** @param target where to connect and as whom */
  constructor(number: number, random: Prng, target: ClientOptions, acts: readonly Act[] = ACTS) {
    this.#acts = acts
    this.number = number
    this.random = random
    this.target = target
  }

  async client(): Promise<WireClient> {
    if (this.#client !== null) return this.#client
    this.#client = await this.connect()
    this.#client.received.length = 0
    this.#names.clear()
    this.#settings = new Map([
      ['application_name', ''],
      ['TimeZone', this.#client.parameters.get('TimeZone') ?? ''],
    ])
    this.logins++
    return this.#client
  }

  /** How it connects. */
  protected connect(): Promise<WireClient> {
    return WireClient.connect(this.target)
  }

  /** The connection, if there is one. */
  protected get connection(): WireClient | null {
    return this.#client
  }

  /** A text that no other answer contains. */
  mark(): string {
    return `<${this.number}:${++this.#nonce}>`
  }

  async step(): Promise<void> {
    const client = await this.client()
    const act = this.random.pick(this.#acts)
    this.lastAct = act.name
    await act(this, client)
    client.received.length = 0
  }

  async forget(): Promise<void> {
    const client = this.#client
    this.#client = null
    await client?.end()
  }

  /** The connection breaks, as when a machine loses its power or a process is killed. */
  vanish(client: WireClient): void {
    this.#client = null
    this.vanished++
    if (this.random.chance(0.8)) client.destroy()
    else if (this.random.chance(0.5)) client.halfClose()
    else void client.end()
  }

  /** Parse under a name that every client uses, for a text that only this one has. */
  prepare(name: string): Buffer {
    const text = `select $1::text || ' of ${this.number}, ${this.mark()}'`
    const isTaken = this.#names.has(name)
    this.#names.set(name, text)
    return Buffer.concat([...(isTaken ? [m.close('S', name)] : []), m.parse(text, { name })])
  }

  /** What the statement of this name must answer for a parameter. */
  expected(name: string, parameter: string): string {
    const suffix = /' (.*)'$/.exec(this.#names.get(name) ?? '')?.[1]
    return `${parameter} ${suffix}`
  }

  has(name: string): boolean {
    return this.#names.has(name)
  }

  set(setting: string, value: string): void {
    this.#settings.set(setting, value)
  }

  get(setting: string): string {
    return this.#settings.get(setting) ?? ''
  }

  count(exchanges: number): void {
    this.exchanges += exchanges
  }
}

export type Act = (app: Application, client: WireClient) => Promise<void>

async function simple(app: Application, client: WireClient): Promise<void> {
  const mark = app.mark()
  const { rows, status, error } = await client.query(`select '${mark}'`)
  assert.equal(error, null)
  assert.deepEqual(rows, [[mark]])
  assert.equal(status, 'I')
  app.count(1)
}

async function extended(app: Application, client: WireClient): Promise<void> {
  const mark = app.mark()
  const { rows, error } = await client.extended(`select $1::text, '${mark}'`, [mark])
  assert.equal(error, null)
  assert.deepEqual(rows, [[mark, mark]])
  app.count(1)
}

/** A fresh or a known statement, bound in this exchange or, for a fresh one, in the next. */
async function named(app: Application, client: WireClient): Promise<void> {
  const name = app.random.pick(['s1', 's2'])
  const parameter = app.mark()
  const use = Buffer.concat([m.bind({ statement: name, params: [parameter] }), m.execute(), m.sync()])
  if (!app.has(name) || app.random.chance(0.3)) {
    const parse = app.prepare(name)
    if (app.random.chance(0.5)) {
      assert.equal((await client.run(parse, m.describe('S', name), m.sync())).error, null)
      app.count(1)
    } else {
      assert.deepEqual((await client.run(parse, use)).rows, [[app.expected(name, parameter)]])
      app.count(1)
      return
    }
  }
  const { rows, error } = await client.run(use)
  assert.equal(error, null)
  assert.deepEqual(rows, [[app.expected(name, parameter)]])
  app.count(1)
}

/** Another client's statement of the same name must not be reachable either. */
async function unknownName(app: Application, client: WireClient): Promise<void> {
  const { error, rows } = await client.run(m.bind({ statement: 's3', params: [] }), m.execute(), m.sync())
  assert.equal(error?.code, '26000')
  assert.match(error?.message ?? '', /"s3"/)
  assert.deepEqual(rows, [])
  app.count(1)
}

/** The unnamed statement, described in one exchange and run in the next, as many drivers do. */
async function describedFirst(app: Application, client: WireClient): Promise<void> {
  const mark = app.mark()
  const described = await client.run(m.parse(`select $1::text, '${mark}'`), m.describe('S'), m.sync())
  assert.equal(described.error, null)
  const { rows, error } = await client.run(m.bind({ params: [mark] }), m.execute(), m.sync())
  assert.equal(error, null)
  assert.deepEqual(rows, [[mark, mark]])
  app.count(2)
}

async function failing(app: Application, client: WireClient): Promise<void> {
  const mark = app.mark()
  const { error } = await client.query(`select '${mark}'::int`)
  assert.equal(error?.code, '22P02')
  assert.ok(error?.message.includes(mark), error?.message)
  app.count(1)
}

async function transaction(app: Application, client: WireClient): Promise<void> {
  const mark = app.mark()
  const nonce = Number(mark.slice(mark.indexOf(':') + 1, -1))
  assert.equal((await client.query('begin')).status, 'T')
  const first = await client.extended('select pg_backend_pid()')
  await client.query(`select pg_advisory_xact_lock(${app.number})`)
  const inserted = await client.extended('insert into ledger values ($1, $2, $3)', [
    `${app.number}`,
    `${nonce}`,
    'block',
  ])
  assert.equal(inserted.tag, 'INSERT 0 1')
  const second = await client.query('select pg_backend_pid()')
  assert.deepEqual(second.rows, first.rows, 'one server for the whole transaction')
  app.count(5)
  if (app.random.chance(0.1)) {
    app.vanish(client)
    return
  }
  const end = app.random.chance(0.7) ? 'COMMIT' : 'ROLLBACK'
  if (end === 'COMMIT') app.doubtful.push(nonce)
  const ended = await client.query(end)
  assert.equal(ended.tag, end)
  assert.equal(ended.status, 'I')
  app.count(1)
  if (end === 'COMMIT') app.acknowledged.push(nonce)
}

async function pipeline(app: Application, client: WireClient): Promise<void> {
  const marks = Array.from({ length: app.random.between(2, 6) }, () => app.mark())
  const batches = marks.map((mark, at) =>
    at % 2 === 0
      ? m.query(`select '${mark}'`)
      : Buffer.concat([m.parse(`select '${mark}'`), m.bind(), m.execute(), m.sync()]),
  )
  client.send(...batches)
  for (const mark of marks) assert.deepEqual(result(await client.until()).rows, [[mark]])
  app.count(marks.length)
}

async function settings(app: Application, client: WireClient): Promise<void> {
  if (app.random.chance(0.5)) {
    const name = `app ${app.number}`
    assert.equal((await client.query(`set application_name = '${name}'`)).error, null)
    app.set('application_name', name)
  } else {
    const zone = app.random.pick(['UTC', 'Asia/Tokyo', 'America/Lima', 'Europe/Oslo'])
    assert.equal((await client.query(`set TimeZone = '${zone}'`)).error, null)
    app.set('TimeZone', zone)
  }
  app.count(1)
}

async function readSettings(app: Application, client: WireClient): Promise<void> {
  const sql = "select current_setting('application_name'), current_setting('TimeZone')"
  const { rows } = await (app.random.chance(0.5) ? client.query(sql) : client.extended(sql))
  assert.deepEqual(rows, [[app.get('application_name'), app.get('TimeZone')]])
  app.count(1)
}

async function insert(app: Application, client: WireClient): Promise<void> {
  const mark = app.mark()
  const nonce = Number(mark.slice(mark.indexOf(':') + 1, -1))
  const sql = `insert into ledger values (${app.number}, ${nonce}, 'alone')`
  app.doubtful.push(nonce)
  if (app.random.chance(0.15)) {
    client.send(m.query(sql))
    app.vanish(client)
    return
  }
  assert.equal((await client.query(sql)).tag, 'INSERT 0 1')
  app.acknowledged.push(nonce)
  app.count(1)
}

async function copy(app: Application, client: WireClient): Promise<void> {
  const mark = app.mark()
  const out = await client.query(`copy (select '${mark}' from generate_series(1, 3)) to stdout`)
  const data = out.messages
    .filter((message) => message.type === 'd')
    .map((message) => message.data.toString())
  assert.deepEqual(data, [`${mark}\n`, `${mark}\n`, `${mark}\n`])
  app.count(1)
  const nonce = Number(mark.slice(mark.indexOf(':') + 1, -1))
  client.send(m.query('copy ledger from stdin'))
  await client.until('G')
  client.send(m.copyData(`${app.number}\t${nonce}\tcopy\n`))
  if (app.random.chance(0.2)) {
    app.vanish(client)
    return
  }
  app.doubtful.push(nonce)
  assert.equal((await client.run(m.copyDone())).tag, 'COPY 1')
  app.acknowledged.push(nonce)
  app.count(1)
}

/** A cancel hits the one who asked, or nobody. */
async function cancel(app: Application, client: WireClient): Promise<void> {
  const mark = app.mark()
  client.send(m.query(`select '${mark}', pg_sleep(${app.random.pick([0, 0.005, 0.05])})`))
  await client.cancel()
  const { rows, error } = result(await client.until())
  if (error === null) assert.equal(rows[0]?.[0], mark)
  else assert.equal(error.code, '57014')
  app.count(1)
}

async function vanishInRequest(app: Application, client: WireClient): Promise<void> {
  const mark = app.mark()
  const request = Buffer.concat([
    m.query(`select '${mark}'`),
    app.prepare('s1'),
    m.bind({ statement: 's1', params: [mark] }),
    m.execute(),
    m.sync(),
    m.query(`begin; insert into ledger values (${app.number}, -1, 'must not stay')`),
    m.parse(`insert into ledger values (${app.number}, -2, 'must not stay')`),
    m.bind(),
    m.execute(),
  ])
  const cut = app.random.between(1, request.length)
  await client.sendCut(request.subarray(0, cut), [app.random.between(1, cut)])
  app.vanish(client)
}

async function vanishInAnswer(app: Application, client: WireClient): Promise<void> {
  const mark = app.mark()
  const sql = `select repeat('${mark}', 100) from generate_series(1, ${app.random.pick([50, 3000])})`
  const isBatch = app.random.chance(0.5)
  client.send(...(isBatch ? [m.parse(sql), m.bind(), m.execute(), m.sync()] : [m.query(sql)]))
  for (let left = app.random.below(40); left > 0; left--) {
    const message = await client.next()
    if (message.type === 'D') assert.equal(message.values[0]?.toString(), mark.repeat(100))
  }
  app.vanish(client)
}

/** All of them, often ones more than once. */
export const ACTS: readonly Act[] = [
  simple,
  simple,
  extended,
  extended,
  describedFirst,
  describedFirst,
  named,
  named,
  named,
  unknownName,
  failing,
  transaction,
  pipeline,
  settings,
  readSettings,
  readSettings,
  insert,
  copy,
  cancel,
  vanishInRequest,
  vanishInAnswer,
]

/** What a pool in statement mode does not refuse. */
export const STATEMENT_ACTS: readonly Act[] = ACTS.filter((act) => act !== transaction)

/** Acts after which the connection is there and nothing runs, each exchange one transaction. */
export const PLAIN_ACTS: readonly Act[] = [
  simple,
  extended,
  describedFirst,
  named,
  unknownName,
  failing,
  pipeline,
  settings,
  readSettings,
  simple,
]
