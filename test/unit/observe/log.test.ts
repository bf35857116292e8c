// The log: one event is one line whatever a peer calls itself, secrets stay out, storms are cut.
import assert from 'node:assert/strict'
import { Writable } from 'node:stream'
import { describe, it } from 'node:test'
import fc from 'fast-check'
import { createLog, type LogLevel } from '../../../src/observe/log.ts'
import { LimitedLog } from '../../../src/observe/log-limit.ts'
import { safeFields, safeText } from '../../../src/observe/sanitize.ts'

function captured(format: 'json' | 'pretty', level: LogLevel = 'info') {
  const chunks: string[] = []
  const to = new Writable({
    write(chunk, _encoding, done) {
      chunks.push(String(chunk))
      done()
    },
  })
  const log = createLog({ level, format, to })
  /** All that was written; pretty lines pass through a stream and need a turn. */
  const text = async () => {
    await new Promise((resolve) => setImmediate(resolve))
    return chunks.join('')
  }
  return { log, text }
}

const hostile = 'eve\n{"level":"info"}\r\u001b[2J\u009b\u2028\u202e\u0000'
// biome-ignore lint/suspicious/noControlCharactersInRegex: these are what must not be there
const CONTROLS = /[\u0000-\u0009\u000b-\u001f\u007f-\u009f\u2028-\u202e\u2066-\u2069]/

describe('log', () => {
  for (const format of ['json', 'pretty'] as const) {
    it(`writes one line per event, without controls (${format})`, async () => {
      const { log, text } = captured(format)
      log
        .child({ application_name: hostile })
        .info({ user: hostile, deep: { list: [hostile] } }, `login ${hostile}`)
      log.error({ error: new Error(hostile), err: new Error(hostile) }, 'failed')
      const written = await text()
      assert.equal(written.split('\n').length, 3)
      assert.doesNotMatch(written, CONTROLS)
      assert.match(written, /eve/)
    })

    it(`changes its level with all its children (${format})`, async () => {
      const { log, text } = captured(format, 'warn')
      const child = log.child({ of: 'one' })
      child.info({}, 'too quiet')
      log.setLevel?.('debug')
      assert.ok(child.enabled('debug'))
      child.debug({}, 'heard')
      child.setLevel?.('error')
      log.warn({}, 'too quiet again')
      const written = await text()
      assert.match(written, /heard/)
      assert.doesNotMatch(written, /too quiet/)
    })

    it(`does not write secrets (${format})`, async () => {
      const { log, text } = captured(format)
      log.warn(
        {
          password: 'hunter2',
          users: [{ secret: 'hunter2', Authorization: 'hunter2', serverKey: Buffer.from('hunter2') }],
          upstream: 'postgres://bob:hunter2@db/x?sslpassword=hunter2',
          dsn: "host=db password='hunter2' user=bob",
          bytes: Buffer.from('hunter2'),
          error: new Error('postgres://bob:p@hunter2@db refused'),
        },
        'cannot reach postgresql://bob:hunter2@db:5432/x',
      )
      const written = await text()
      assert.doesNotMatch(written, /hunter2/)
      assert.match(written, /bob/)
    })
  }

  it('writes JSON that parses, with level, time and message', async () => {
    const { log, text } = captured('json')
    log.info({ pool: 'a/b', count: 3 }, 'ready')
    const line = JSON.parse(await text())
    assert.equal(line.level, 'info')
    assert.equal(line.msg, 'ready')
    assert.equal(line.pool, 'a/b')
    assert.equal(line.count, 3)
    assert(!Number.isNaN(Date.parse(line.time)))
  })

  it('leaves out what is below its level', async () => {
    const { log, text } = captured('json', 'warn')
    log.info({}, 'quiet')
    log.debug({}, 'quiet')
    assert.equal(log.enabled('info'), false)
    assert.equal(log.child({}).enabled('error'), true)
    assert.equal(await text(), '')
  })
})

describe('safeText and safeFields', () => {
  it('leave nothing unsafe in any text', () => {
    fc.assert(
      fc.property(fc.string({ unit: 'binary' }), (text) => {
        assert.doesNotMatch(safeText(text), CONTROLS)
        assert.doesNotMatch(safeText(text), /\n/)
      }),
    )
  })

  it('are bounded', () => {
    assert(safeText('x'.repeat(1_000_000)).length < 3000)
    const deep: Record<string, unknown> = {}
    deep.self = deep
    assert(JSON.stringify(safeFields({ deep, list: new Array(10_000).fill(1) })).length < 1000)
  })

  it('take any object', () => {
    fc.assert(
      fc.property(fc.dictionary(fc.string(), fc.anything({ withBigInt: true, withDate: true })), (fields) => {
        JSON.stringify(safeFields(fields))
      }),
    )
  })
})

describe('LimitedLog', () => {
  function limited() {
    let now = 0
    const { log, text } = captured('json')
    const limit = new LimitedLog(log, { now: () => now })
    const lines = async () =>
      (await text())
        .split('\n')
        .filter((line) => line !== '')
        .map((line) => JSON.parse(line))
    return { limit, lines, pass: (ms: number) => (now += ms) }
  }

  it('writes ten lines a second per reason and says how many it left out', async () => {
    const { limit, lines, pass } = limited()
    for (let i = 0; i < 1000; i++)
      limit.write('warn', 'bad password', { fields: { i }, message: 'login failed' })
    limit.write('info', 'other reason', { fields: {}, message: 'x' })
    assert.equal((await lines()).length, 11)
    limit.tick()
    assert.equal((await lines()).length, 11)
    pass(1000)
    limit.tick()
    limit.tick()
    const all = await lines()
    assert.equal(all.length, 12)
    assert.equal(all[11].suppressed, 990)
    assert.equal(all[11].reason, 'bad password')
    assert.equal(all[11].level, 'warn')
  })

  it('writes the summary in front of the next line where nobody ticks', async () => {
    const { limit, lines, pass } = limited()
    for (let i = 0; i < 12; i++) limit.write('warn', 'r', { fields: {}, message: 'm' })
    pass(1500)
    limit.write('warn', 'r', { fields: {}, message: 'm' })
    const all = await lines()
    assert.equal(all.length, 12)
    assert.equal(all[10].suppressed, 2)
  })

  it('keeps a bounded number of reasons apart', async () => {
    const { limit, lines } = limited()
    for (let i = 0; i < 5000; i++) limit.write('warn', `reason ${i}`, { fields: {}, message: 'm' })
    assert.equal((await lines()).length, 256 + 10)
  })
})
