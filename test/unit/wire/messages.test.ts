// Messages that pgmux makes: exact bytes, and that no text can break out of its field.

import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import fc from 'fast-check'
import { serialize } from 'pg-protocol'
import * as m from '../../../src/wire/messages.ts'

/** Bytes of a message from its type and body, as binary text. */
function message(type: string, body: string): Buffer {
  const length = Buffer.alloc(4)
  length.writeInt32BE(4 + body.length)
  return Buffer.concat([Buffer.from(type), length, Buffer.from(body, 'latin1')])
}

describe('messages for clients', () => {
  it('have the bytes of the protocol', () => {
    assert.deepEqual(m.PARSE_COMPLETE, message('1', ''))
    assert.deepEqual(m.CLOSE_COMPLETE, message('3', ''))
    assert.deepEqual(m.commandComplete('SELECT 1'), message('C', 'SELECT 1\0'))
    assert.deepEqual(m.parameterStatus('TimeZone', 'UTC'), message('S', 'TimeZone\0UTC\0'))
    assert.deepEqual(m.parameterStatus('a', Buffer.from([0xe9])), message('S', 'a\0\xe9\0'))
    assert.deepEqual(m.backendKeyData(258, Buffer.from('key!')), message('K', '\0\0\x01\x02key!'))
  })

  it('share one ReadyForQuery for each status', () => {
    for (const status of ['I', 'T', 'E'] as const) {
      assert.deepEqual(m.readyForQuery(status), message('Z', status))
      assert.equal(m.readyForQuery(status), m.readyForQuery(status))
    }
  })

  it('name the whole protocol version when they negotiate', () => {
    const body = '\0\x03\0\x02\0\0\0\x02_pq_.a\0_pq_.b\0'
    assert.deepEqual(m.negotiateProtocolVersion(2, ['_pq_.a', '_pq_.b']), message('v', body))
    assert.deepEqual(m.negotiateProtocolVersion(0, []), message('v', '\0\x03\0\0\0\0\0\0'))
  })
})

describe('messages for servers', () => {
  it('are those of pg-protocol', () => {
    assert.deepEqual(m.query('select 1'), serialize.query('select 1'))
    assert.deepEqual(
      m.parse('s', 'select $1', [23, 25]),
      serialize.parse({ name: 's', text: 'select $1', types: [23, 25] }),
    )
    assert.deepEqual(m.execute('p', 10), serialize.execute({ portal: 'p', rows: 10 }))
    assert.deepEqual(m.execute(''), serialize.execute())
    assert.deepEqual(m.describe('S', 's'), serialize.describe({ type: 'S', name: 's' }))
    assert.deepEqual(m.describe('P', ''), serialize.describe({ type: 'P' }))
    assert.deepEqual(m.close('S', 'näme'), serialize.close({ type: 'S', name: 'näme' }))
    assert.deepEqual(m.copyFail('no'), serialize.copyFail('no'))
    assert.deepEqual(m.SYNC, serialize.sync())
    assert.deepEqual(m.TERMINATE, serialize.end())
  })

  it('bind text, bytes and nulls', () => {
    const body = 'p\0s\0\0\0\0\x04\0\0\0\x01a\xff\xff\xff\xff\0\0\0\0\0\0\0\x02\x00\xff\0\0'
    assert.deepEqual(m.bind('p', 's', ['a', null, '', Buffer.from([0, 255])]), message('B', body))
    assert.throws(() => m.bind('', '', new Array(65_536).fill(null)), RangeError)
    assert.equal(m.bind('', '', new Array(65_535).fill(null)).readUInt16BE(9), 65_535)
  })

  it('take unsigned parameter types', () => {
    assert.deepEqual(m.parse('', 'x', [0xffff_ffff]), message('P', '\0x\0\0\x01\xff\xff\xff\xff'))
  })

  it('refuse a zero byte, which would end their text early', () => {
    const builders = [m.query, m.parse.bind(null, ''), m.commandComplete, m.copyFail, m.close.bind(null, 'S')]
    for (const build of builders) {
      assert.throws(() => build('a\0b'), RangeError)
      assert.throws(() => build(Buffer.from('a\0b')), RangeError)
    }
    assert.throws(() => m.parameterStatus('a', 'b\0'), RangeError)
    assert.throws(() => m.bind('', '\0', []), RangeError)
  })

  it('fill every byte, whatever the text', () => {
    const text = fc.oneof(
      fc.string({ unit: 'binary' }),
      fc.string({ unit: fc.constantFrom('\ud800', 'é', 'a') }),
    )
    fc.assert(
      fc.property(text, fc.array(fc.option(text)), (raw, values) => {
        const clean = raw.replaceAll('\0', '')
        const bytes = Buffer.from(clean)
        assert.deepEqual(m.query(clean), m.query(bytes))
        assert.deepEqual(m.query(clean), message('Q', `${bytes.toString('latin1')}\0`))
        const bound = m.bind(clean, clean, values)
        assert.equal(bound.readInt32BE(1), bound.length - 1)
        const asBytes = values.map((value) => (value === null ? null : Buffer.from(value)))
        assert.deepEqual(bound, m.bind(bytes, bytes, asBytes))
      }),
    )
  })
})
