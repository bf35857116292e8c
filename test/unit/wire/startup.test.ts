// Startup packets: every length, every cut, every layout that a peer can send.

import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import fc from 'fast-check'
import {
  buildCancelRequest,
  buildSslRequest,
  buildStartup,
  fromText,
  MAX_STARTUP_BODY,
  parseOptions,
  peekStartup,
  toBytes,
  toText,
  unsupportedProtocol,
} from '../../../src/wire/startup.ts'

const peek = (bytes: Buffer) => peekStartup(bytes, 0, bytes.length)

function packet(version: number, body: Buffer | string): Buffer {
  const rest = typeof body === 'string' ? Buffer.from(body, 'latin1') : body
  const head = Buffer.alloc(8)
  head.writeInt32BE(8 + rest.length, 0)
  head.writeUInt32BE(version, 4)
  return Buffer.concat([head, rest])
}

const startup = (body: string) => packet(3 << 16, body)

function assertInvalid(bytes: Buffer, code: string, message: string): void {
  assert.deepEqual(peek(bytes), { kind: 'invalid', code, message })
}

const BAD_LAYOUT = 'invalid startup packet layout: expected terminator as last byte'
const BAD_LENGTH = 'invalid length of startup packet'

describe('peekStartup', () => {
  it('reads a startup message with its parameters in order', () => {
    const bytes = startup('user\0ann\0database\0shop\0application_name\0\0\0')
    const found = peek(bytes)
    assert.equal(found.kind, 'startup')
    if (found.kind !== 'startup') return
    assert.equal(found.length, bytes.length)
    assert.equal(found.major, 3)
    assert.equal(found.minor, 0)
    assert.deepEqual(
      [...found.parameters],
      [
        ['user', 'ann'],
        ['database', 'shop'],
        ['application_name', ''],
      ],
    )
    assert.deepEqual(found.unknownOptions, [])
  })

  it('needs every byte of a packet before it says what it is', () => {
    const packets = [
      startup('user\0ann\0\0'),
      buildSslRequest(),
      buildCancelRequest(7, Buffer.alloc(4, 1)),
      packet((2 << 16) | 0, Buffer.alloc(288)),
    ]
    for (const bytes of packets) {
      for (let have = 0; have < bytes.length; have++) {
        assert.equal(peekStartup(bytes, 0, have).kind, 'need-more', `${have} of ${bytes.length} bytes`)
      }
      assert.notEqual(peek(bytes).kind, 'need-more')
    }
  })

  it('looks at its own part of the buffer only', () => {
    const bytes = startup('user\0ann\0\0')
    const around = Buffer.concat([Buffer.from('xxx'), bytes, Buffer.from('Q\0\0\0\x05\0')])
    const found = peekStartup(around, 3, around.length)
    assert.equal(found.kind === 'startup' && found.length, bytes.length)
  })

  it('refuses a length that cannot be as soon as its four bytes are there', () => {
    const longest = MAX_STARTUP_BODY + 4
    for (const length of [0, 3, 4, 7, longest + 1, 2 ** 31 - 1, -1, -(2 ** 31)]) {
      const bytes = Buffer.alloc(4)
      bytes.writeInt32BE(length)
      assertInvalid(bytes, '08P01', BAD_LENGTH)
    }
    for (const length of [8, 10_000, 10_001, longest]) {
      const bytes = Buffer.alloc(4)
      bytes.writeInt32BE(length)
      assert.equal(peek(bytes).kind, 'need-more', `length ${length}`)
    }
  })

  it('takes the longest packet that Postgres takes', () => {
    const head = 'user\0ann\0application_name\0'
    const fill = MAX_STARTUP_BODY - 4 - head.length - 2
    const bytes = startup(`${head}${'x'.repeat(fill)}\0\0`)
    assert.equal(bytes.length, MAX_STARTUP_BODY + 4)
    assert.equal(peek(bytes).kind, 'startup')
  })

  it('lets the last of two equal names count', () => {
    const found = peek(startup('user\0ann\0a\x001\0user\0bob\0\0'))
    assert.deepEqual(found.kind === 'startup' && [...found.parameters], [
      ['a', '1'],
      ['user', 'bob'],
    ])
  })

  it('keeps unknown protocol options apart', () => {
    const found = peek(packet((3 << 16) | 9, '_pq_.x\x001\0user\0ann\0_pq_.y\0\0\0'))
    assert.equal(found.kind, 'startup')
    if (found.kind !== 'startup') return
    assert.equal(found.minor, 9)
    assert.deepEqual(found.unknownOptions, ['_pq_.x', '_pq_.y'])
    assert.deepEqual([...found.parameters.keys()], ['user'])
  })

  it('refuses a missing or misplaced terminator', () => {
    const bodies = [
      '',
      'user\0ann\0',
      'user\0ann',
      'user\0',
      'user',
      'user\0ann\0\0x',
      '\0user\0ann\0\0',
      'user\0ann\0a\0\0',
    ]
    for (const body of bodies) assertInvalid(startup(body), '08P01', BAD_LAYOUT)
  })

  it('refuses a packet without a user', () => {
    for (const body of ['\0', 'database\0shop\0\0', 'user\0\0\0', 'user\0ann\0user\0\0\0']) {
      assertInvalid(startup(body), '28000', 'no PostgreSQL user name specified in startup packet')
    }
  })

  it('refuses other protocols in the words of Postgres', () => {
    const text = (v: string) => `unsupported frontend protocol ${v}: server supports 3.0 to 3.2`
    assertInvalid(packet(2 << 16, 'x'), '0A000', text('2.0'))
    assertInvalid(packet((4 << 16) | 1, ''), '0A000', text('4.1'))
    assertInvalid(packet(0xffff_ffff, ''), '0A000', text('65535.65535'))
    assert.equal(unsupportedProtocol(1234, 5679).message, text('1234.5679'))
  })

  it('knows encryption requests, and TLS without one', () => {
    assert.deepEqual(peek(buildSslRequest()), { kind: 'ssl', length: 8 })
    assert.deepEqual(peek(packet(80877104, '')), { kind: 'gss', length: 8 })
    assertInvalid(packet(80877103, 'x'), '08P01', BAD_LENGTH)
    assertInvalid(packet(80877104, 'x'), '08P01', BAD_LENGTH)
    assert.deepEqual(peek(Buffer.from([0x16])), { kind: 'tls', length: 0 })
    assert.equal(peek(Buffer.from('GET / HTTP/1.1\r\n')).kind, 'invalid')
  })

  it('reads cancel requests with keys of 4 to 256 bytes', () => {
    for (const size of [4, 5, 32, 256]) {
      const key = Buffer.alloc(size, 0xa5)
      const bytes = buildCancelRequest(-2, key)
      assert.equal(bytes.length, 12 + size)
      const found = peek(bytes)
      assert.deepEqual(found, { kind: 'cancel', length: 12 + size, pid: -2, key })
      bytes.fill(0)
      assert.deepEqual(found.kind === 'cancel' && found.key, key, 'the key is a copy')
    }
    const text = 'invalid length of cancel key in cancel request packet'
    for (const size of [0, 4, 7, 261]) assertInvalid(packet(80877102, Buffer.alloc(size)), '08P01', text)
    assert.throws(() => buildCancelRequest(1, Buffer.alloc(3)), RangeError)
    assert.throws(() => buildCancelRequest(1, Buffer.alloc(257)), RangeError)
  })

  it('gives a result for any bytes', () => {
    const lengthed = fc.uint8Array({ maxLength: 300 }).map((body) => packet(3 << 16, Buffer.from(body)))
    const raw = fc.uint8Array({ maxLength: 40 }).map((bytes) => Buffer.from(bytes))
    fc.assert(
      fc.property(fc.oneof(lengthed, raw), (bytes) => {
        const found = peek(bytes)
        if (found.kind === 'startup') assert.ok(found.length <= bytes.length && found.parameters.get('user'))
      }),
    )
  })
})

describe('buildStartup', () => {
  const binary = fc.uint8Array({ maxLength: 20 }).map((bytes) => {
    return Buffer.from(bytes.filter((byte) => byte !== 0)).toString('latin1')
  })

  it('is read back as it was, whatever the bytes', () => {
    fc.assert(
      fc.property(binary, binary, fc.nat(65_535), (name, value, minor) => {
        const parameters = new Map([
          ['user', 'ann'],
          [`n${name}`, value],
        ])
        const found = peek(buildStartup({ minor, parameters }))
        assert.equal(found.kind, 'startup')
        if (found.kind !== 'startup') return
        assert.equal(found.minor, minor)
        assert.deepEqual([...found.parameters], [...parameters])
      }),
    )
  })

  it('refuses what would be read as other parameters', () => {
    for (const pair of [
      ['', 'x'] as const,
      ['a\0b', 'x'] as const,
      ['a', 'x\0user'] as const,
      ['a', '€'] as const,
    ]) {
      assert.throws(() => buildStartup({ minor: 0, parameters: [pair] }), RangeError)
    }
  })

  it('turns text into binary strings and back', () => {
    assert.equal(toText(fromText('naïve €')), 'naïve €')
    assert.deepEqual(toBytes('\xff\x00'), Buffer.from([255, 0]))
    assert.equal(toText('\xff'), '\ufffd')
  })
})

describe('parseOptions', () => {
  const settings = (options: string) => parseOptions(options).settings.map((s) => `${s.name}=${s.value}`)

  it('reads all three ways to write a setting', () => {
    assert.deepEqual(settings('-c a=1 -cb=2 --c-d=3 -c e-f=4=5 --g='), [
      'a=1',
      'b=2',
      'c_d=3',
      'e_f=4=5',
      'g=',
    ])
    assert.deepEqual(parseOptions('').settings, [])
    assert.deepEqual(parseOptions(' \t\n ').other, [])
  })

  it('leaves dashes in values alone and takes escapes', () => {
    assert.deepEqual(settings('-c a=x-y --b=two\\ words\\\\ --c=\\'), ['a=x-y', 'b=two words\\', 'c='])
    assert.deepEqual(settings('-c\\ a=1'), [' a=1'])
  })

  it('marks what it does not know', () => {
    const found = parseOptions('-e -S 10 -c broken --alone --=x a=b -- -c')
    assert.deepEqual(found.settings, [])
    assert.deepEqual(found.other, ['-e', '-S', '10', '-c broken', '--alone', '--=x', 'a=b', '--', '-c'])
  })

  it('never throws', () => {
    fc.assert(fc.property(fc.string(), (text) => parseOptions(text) !== null))
    fc.assert(
      fc.property(fc.string({ unit: fc.constantFrom('-', 'c', '=', ' ', '\\', 'a') }), (text) => {
        const { settings: found, other } = parseOptions(text)
        for (const { name } of found) assert.ok(name !== '' && !name.includes('-'))
        assert.ok(found.length + other.length <= text.length)
      }),
    )
  })
})
