// One answer, whatever the way: every statement of test/support/every-type.ts over HTTP, over WebSocket
// and over TCP, through a pooler and directly. All texts, fields, tags and members of errors must be the
// same.
import assert from 'node:assert/strict'
import { after, suite, test } from 'node:test'
import pg from 'pg'
import { stage } from '../support/compare.ts'
import { EVERY_TYPE, EVERY_TYPE_SETUP, WITH_PARAMETERS } from '../support/every-type.ts'
import { aim, DRIVERS, endpointOf, on, resetAfterEach, urlOf } from '../support/neon.ts'
import { getPostgres } from '../support/postgres.ts'

const postgres = await getPostgres({ settings: { timezone: 'UTC' } })
await postgres.admin(EVERY_TYPE_SETUP)
const { pooler } = await stage(postgres, 'one', { pool: { size: 2 }, serverless: on() })
const url = urlOf(postgres)
const LEAST = 60
resetAfterEach()

/** What one statement was answered with. */
interface Answer {
  readonly command?: unknown
  readonly rowCount?: unknown
  readonly fields?: unknown
  readonly rows?: unknown
  readonly error?: unknown
}
type Values = readonly (string | null)[] | undefined
/** Runs a statement somewhere. */
type Ask = (sql: string, values: Values) => Promise<Answer>

const MEMBERS = [
  ...[
    'message',
    'severity',
    'code',
    'detail',
    'hint',
    'position',
    'internalPosition',
    'internalQuery',
    'where',
  ],
  ...['schema', 'table', 'column', 'dataType', 'constraint', 'file', 'line', 'routine'],
]
type Types = NonNullable<NonNullable<Parameters<(typeof DRIVERS)[number]['neon']['neon']>[0]>['types']>
const asText = { getTypeParser: () => (value: string) => value }

/** The same shape, whoever says it; where there is no command, over HTTP it is ''. */
function answerOf({ command, rowCount, fields, rows }: pg.QueryArrayResult): Answer {
  return {
    command: command ?? '',
    rowCount: Number.isInteger(rowCount) ? rowCount : null,
    fields: fields.map(({ name, dataTypeID, tableID, columnID, dataTypeSize, dataTypeModifier }) => {
      return { name, dataTypeID, tableID, columnID, dataTypeSize, dataTypeModifier }
    }),
    rows,
  }
}

async function answered(asked: Promise<pg.QueryArrayResult>): Promise<Answer> {
  try {
    return answerOf(await asked)
  } catch (thrown) {
    const error = thrown as Record<string, unknown>
    assert.match(String(error.code), /^[0-9A-Z]{5}$/, String(thrown))
    return { error: MEMBERS.map((member) => [member, error[member] ?? null]) }
  }
}

/** As node-postgres and what has its shape. */
function asking(client: pg.Client): Ask {
  return (text, values) => {
    const query = { text, rowMode: 'array' as const, types: asText, ...(values && { values: [...values] }) }
    return answered(client.query(query as pg.QueryArrayConfig))
  }
}

async function overTcp(host: string, port: number): Promise<Ask> {
  const { user, password, database } = postgres
  const client = new pg.Client({ host, port, user, password, database })
  await client.connect()
  after(() => client.end())
  return asking(client)
}

async function overWebSocket({ neon }: (typeof DRIVERS)[number]): Promise<Ask> {
  const client = new neon.Client(url)
  await client.connect()
  after(() => client.end())
  return asking(client as unknown as pg.Client)
}

function overHttp({ neon }: (typeof DRIVERS)[number]): Ask {
  const sql = neon.neon(url)
  const options = { fullResults: true, arrayMode: true, types: asText as Types } as const
  return (text, values) => answered(sql.query(text, [...(values ?? [])], options) as never)
}

/** As a program without a driver does. */
function overFetch(): Ask {
  const headers = {
    'neon-connection-string': url,
    'neon-raw-text-output': 'true',
    'neon-array-mode': 'true',
  }
  return async (query, params) => {
    const body = JSON.stringify({ query, params: params ?? [] })
    const response = await fetch(`http://${endpointOf(pooler)}/sql`, { method: 'POST', headers, body })
    const told = (await response.json()) as Record<string, unknown>
    if (response.status === 200) {
      assert.deepEqual(Object.keys(told).toSorted(), ['command', 'fields', 'rowAsArray', 'rowCount', 'rows'])
      for (const field of told.fields as object[]) assert.equal(Object.keys(field).length, 7)
      return answerOf(told as never)
    }
    assert.equal(response.status, 400, JSON.stringify(told))
    assert.deepEqual(Object.keys(told).toSorted(), MEMBERS.toSorted())
    return { error: MEMBERS.map((member) => [member, told[member]]) }
  }
}

/** All answers of one way, in the order of the statements. */
async function all(ask: Ask): Promise<Answer[]> {
  const answers: Answer[] = []
  for (const sql of EVERY_TYPE) answers.push(await ask(sql, undefined))
  for (const [sql, values] of WITH_PARAMETERS) answers.push(await ask(sql, values))
  return answers
}

suite('every type and every error', () => {
  let direct: Promise<Answer[]> | null = null
  const known = async () => {
    direct ??= all(await overTcp(postgres.host, postgres.port))
    return direct
  }
  const assertSame = async (ask: Ask) => {
    const expected = await known()
    const answers = await all(ask)
    const statements = [...EVERY_TYPE, ...WITH_PARAMETERS.map(([sql]) => sql)]
    statements.forEach((sql, at) => {
      assert.deepEqual(answers[at], expected[at], sql)
    })
  }

  test('directly: most are answered, and those that should fail do', async () => {
    const answers = await known()
    const good = answers.filter(({ error }) => error === undefined)
    assert.ok(good.length >= LEAST, `${good.length} statements are answered`)
    assert.ok(answers.length - good.length >= 20, 'errors are among them')
  })

  test('TCP, node-postgres', async () => assertSame(await overTcp(pooler.host, pooler.port)))
  test('HTTP, fetch', () => assertSame(overFetch()))
  for (const driver of DRIVERS) {
    test(`WebSocket, driver ${driver.version}`, async () => {
      aim({ neon: driver.neon, socket: undefined }, pooler)
      await assertSame(await overWebSocket(driver))
    })
    test(`HTTP, driver ${driver.version}`, async () => {
      aim({ neon: driver.neon, socket: undefined }, pooler)
      await assertSame(overHttp(driver))
    })
  }
})
