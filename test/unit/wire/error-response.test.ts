// ErrorResponse and NoticeResponse: read whatever comes, change no byte but those meant.

import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import fc from 'fast-check'
import {
  errorResponse,
  field,
  noticeResponse,
  parseErrorResponse,
  replaceName,
  withSeverity,
} from '../../../src/wire/error-response.ts'

function raw(body: string | Uint8Array, type = 'E'): Buffer {
  const rest = typeof body === 'string' ? Buffer.from(body, 'utf8') : Buffer.from(body)
  const head = Buffer.from(`${type}\0\0\0\0`)
  head.writeInt32BE(4 + rest.length, 1)
  return Buffer.concat([head, rest])
}

const read = (bytes: Buffer) => parseErrorResponse(bytes, 0, bytes.length)
const NOTHING = { severity: '', code: '', message: '', detail: '', hint: '' }

describe('parseErrorResponse', () => {
  it('reads the fields, the severity that is not translated first', () => {
    const bytes = raw('SFEHLER\0VERROR\0C42601\0Mkaputt\0Dweil\0Hnicht\0P5\0Fscan.l\0\0')
    const want = { severity: 'ERROR', code: '42601', message: 'kaputt', detail: 'weil', hint: 'nicht' }
    assert.deepEqual(read(bytes), want)
    const around = Buffer.concat([Buffer.from('Z\0\0\0\x05I'), bytes, Buffer.from('Z\0\0\0\x05I')])
    assert.deepEqual(parseErrorResponse(around, 6, 6 + bytes.length), want)
  })

  it('reads S where there is no V', () => {
    assert.equal(read(raw('SFATAL\0C57P01\0\0')).severity, 'FATAL')
  })

  it('makes do with what is there', () => {
    assert.deepEqual(read(raw('')), NOTHING)
    assert.deepEqual(read(raw('\0')), NOTHING)
    assert.deepEqual(read(raw('C')), NOTHING)
    assert.deepEqual(read(raw('C42601')), { ...NOTHING, code: '42601' })
    assert.deepEqual(read(raw('Mone\0Mtwo\0')), { ...NOTHING, message: 'one' })
    assert.deepEqual(read(Buffer.from('E')), NOTHING)
    assert.deepEqual(read(Buffer.alloc(0)), NOTHING)
  })

  it('never throws, and neither do the others', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 60 }), fc.boolean(), (body, framed) => {
        const bytes = framed ? raw(body) : Buffer.from(body)
        const found = read(bytes)
        assert.equal(field(bytes, 'C'), found.code)
        for (const changed of [withSeverity(bytes, 'FATAL'), replaceName(bytes, 'a', 'b')]) {
          assert.equal(changed.readInt32BE(1), changed.length - 1)
        }
        assert.deepEqual(read(replaceName(bytes, 'a', 'a')), found)
      }),
    )
  })
})

describe('errorResponse and noticeResponse', () => {
  it('write the fields in the order of Postgres', () => {
    const spec = { severity: 'ERROR', code: '53300', message: 'full', detail: 'd', hint: 'h' } as const
    assert.deepEqual(errorResponse(spec), raw('SERROR\0VERROR\0C53300\0Mfull\0Dd\0Hh\0\0'))
    assert.deepEqual(read(errorResponse(spec)), { ...spec })
    const notice = noticeResponse({ severity: 'WARNING', code: '01000', message: 'ü', hint: undefined })
    assert.deepEqual(notice, raw('SWARNING\0VWARNING\0C01000\0Mü\0\0', 'N'))
  })

  it('cut text at a zero byte, which would begin another field', () => {
    const bytes = errorResponse({ severity: 'FATAL', code: '28P01', message: 'no\0C00000', detail: 'x\0' })
    assert.deepEqual(read(bytes), {
      ...NOTHING,
      severity: 'FATAL',
      code: '28P01',
      message: 'no',
      detail: 'x',
    })
  })
})

describe('withSeverity', () => {
  it('changes S and V, and nothing else', () => {
    const bytes = raw('SFATAL\0VFATAL\0C57P01\0MFATAL\0FS\0RV\0\0')
    assert.deepEqual(withSeverity(bytes, 'ERROR'), raw('SERROR\0VERROR\0C57P01\0MFATAL\0FS\0RV\0\0'))
    assert.deepEqual(withSeverity(raw('SFATAL\0Mx\0\0'), 'ERROR'), raw('SERROR\0Mx\0\0'))
  })

  it('keeps bytes that are not UTF-8', () => {
    const body = Buffer.from('SFEHLER\0M\xff\xe9\0\0', 'latin1')
    assert.deepEqual(withSeverity(raw(body), 'FATAL'), raw(Buffer.from('SFATAL\0M\xff\xe9\0\0', 'latin1')))
  })
})

describe('replaceName', () => {
  const change = (text: string, from = 'pgmux_1', to = 'mine') =>
    read(
      replaceName(errorResponse({ severity: 'ERROR', code: '26000', message: text, detail: text }), from, to),
    )

  it('replaces the quoted name in the message', () => {
    assert.equal(
      change('prepared statement "pgmux_1" does not exist').message,
      'prepared statement "mine" does not exist',
    )
    assert.equal(change('"pgmux_1""pgmux_1"').message, '"mine""mine"')
    assert.equal(change('»pgmux_1« existiert nicht').message, '»mine« existiert nicht')
    assert.equal(change('"pgmux_1"', 'pgmux_1', '').message, '""')
  })

  it('leaves other names and other fields alone', () => {
    for (const text of ['"pgmux_12"', '"xpgmux_1"', 'pgmux_1', '"pgmux_1', 'pgmux_1"', '']) {
      assert.equal(change(text).message, text)
    }
    assert.equal(change('"pgmux_1"').detail, '"pgmux_1"')
    assert.equal(change('"pgmux_1"', '').message, '"pgmux_1"')
  })

  it('takes names as bytes', () => {
    const bytes = replaceName(raw('M"a"\0\0'), Buffer.from('a'), Buffer.from([0xe9]))
    assert.deepEqual(bytes, raw(Buffer.from('M"\xe9"\0\0', 'latin1')))
  })
})
