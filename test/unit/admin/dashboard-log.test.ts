// The tail of the log: the last lines in their order, so many a second and no more, each of a bounded length,
// and what is dropped is told.
import assert from 'node:assert/strict'
import { Writable } from 'node:stream'
import { suite, test } from 'node:test'
import { LogLines, linesJson } from '../../../src/admin/dashboard/log-lines.ts'
import { createLog } from '../../../src/observe/log.ts'
import { LogTail, type TailLine } from '../../../src/observe/log-tail.ts'

const line = (message: string, fields: TailLine['fields'] = {}): TailLine => ({
  at: 1,
  level: 'info',
  message,
  fields,
})
const told = (lines: readonly TailLine[]) => (JSON.parse(linesJson(lines)) as { lines: TailLine[] }).lines

suite('the tail', () => {
  test('has the last 200 lines, the oldest first', () => {
    const tail = new LogTail()
    assert.deepEqual(tail.lines(), [])
    for (let i = 0; i < 250; i++) tail.add(line(String(i)))
    const messages = tail.lines().map(({ message }) => message)
    assert.equal(messages.length, 200)
    assert.deepEqual([messages[0], messages[199]], ['50', '249'])
  })

  test('of the log has what is written, without secrets, with the fields of children', () => {
    const to = new Writable({ write: (_chunk, _encoding, done) => done() })
    const log = createLog({ level: 'info', format: 'json', to })
    log.child({ worker: 1 }).child({ user: 'u\n' }).warn({ password: 'x', n: 2 }, 'a\nb')
    log.debug({}, 'not written')
    const lines = log.tail?.lines() ?? []
    assert.equal(lines.length, 1)
    assert.deepEqual(
      { ...lines[0], at: 0 },
      {
        at: 0,
        level: 'warn',
        message: 'a\\nb',
        fields: { worker: 1, user: 'u\\n', password: '[redacted]', n: 2 },
      },
    )
  })
})

suite('lines on their way', () => {
  test('are 100 a second, and one that says how many more there were', () => {
    const lines = new LogLines()
    lines.take(5000)
    for (let i = 0; i < 130; i++) lines.add(line(String(i)))
    assert.equal(lines.take(5050).length, 100)
    lines.add(line('too many'))
    assert.equal(lines.take(5900).length, 0)
    const [last] = lines.take(6000)
    assert.deepEqual(last?.fields, { left_out: 31 })
    lines.add(line('again'))
    assert.deepEqual(
      lines.take(6050).map(({ message }) => message),
      ['again'],
    )
  })

  test('are bounded, one by one and together', () => {
    const long = line('long', { text: 'x'.repeat(5000) })
    assert.equal(String(told([long])[0]?.fields.cut_off).length, 4096)
    const many = Array.from({ length: 200 }, (_, i) => line(String(i), { text: 'x'.repeat(4000) }))
    const kept = told(many)
    assert.ok(linesJson(many).length <= 256 * 1024 + 200)
    assert.deepEqual([kept.at(-1)?.message, kept.length < 70], ['199', true])
  })
})
