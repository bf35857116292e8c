// The load generator of our own: what it reads, sends and proves. No load is run here.
import assert from 'node:assert/strict'
import { randomBytes } from 'node:crypto'
import { describe, it } from 'node:test'
import { KeyRing, ScramTalk, verifierOf } from '../../../bench/load/scram.ts'
import { errorField, Skimmer } from '../../../bench/load/skimmer.ts'
import { prepareSelect, selectTemplate, tpcb } from '../../../bench/load/statements.ts'
import { ScramServer } from '../../../src/auth/scram-server.ts'
import { parseSecret } from '../../../src/auth/secrets.ts'
import { message } from '../../support/messages.ts'

describe('the skimmer', () => {
  const row = message('D', Buffer.alloc(5000, 'Z'))
  const error = message('E', 'SERROR\0C28P01\0Mpassword authentication failed\0\0')
  const empty = message('I')
  const bytes = Buffer.concat([row, empty, error, row, message('Z', 'I')])

  for (const size of [1, 2, 7, 4096, bytes.length]) {
    it(`sees what counts in pieces of ${size}`, () => {
      const seen: string[] = []
      const skimmer = new Skimmer((type, body) => seen.push(String.fromCharCode(type) + body.toString()))
      const piece = Buffer.alloc(size)
      for (let at = 0; at < bytes.length; at += size) {
        // As the shared buffer of the sockets: it is overwritten by what comes next.
        const count = bytes.copy(piece, 0, at, at + size)
        skimmer.push(piece, count)
      }
      assert.deepEqual(seen, [`E${error.toString('utf8', 5)}`, 'ZI'])
    })
  }

  it('does not follow a length that cannot be', () => {
    const skimmer = new Skimmer(() => {})
    assert.throws(() => skimmer.push(Buffer.from([0x5a, 0, 0, 0, 3]), 5), /negative length/)
  })

  it('finds the fields of an error', () => {
    const body = error.subarray(5)
    assert.deepEqual(
      [errorField(body, 'C'), errorField(body, 'M')],
      ['28P01', 'password authentication failed'],
    )
    assert.equal(errorField(Buffer.from('Mno code\0\0'), 'C'), '')
  })
})

describe('its SCRAM', () => {
  const random = { bytes: (count: number) => randomBytes(count) } as ConstructorParameters<
    typeof ScramServer
  >[2]

  function login(verifier: string, keys: KeyRing): boolean {
    const secret = parseSecret(verifier)
    assert.ok(secret?.kind === 'scram')
    const server = new ScramServer(secret.salt, secret.iterations, random)
    const talk = new ScramTalk(keys)
    const first = server.onClientFirst(Buffer.from(talk.first().data))
    assert.ok(first.ok)
    const final = server.onClientFinal(Buffer.from(talk.answer(first.message.toString())))
    assert.ok(final.ok)
    return server.verify(secret).ok
  }

  it('convinces a server that holds the verifier, and salts the password once', () => {
    const verifier = verifierOf('the password')
    const keys = new KeyRing('the password')
    assert.deepEqual([login(verifier, keys), login(verifier, keys)], [true, true])
    assert.equal(keys.size, 1)
    assert.equal(login(verifierOf('the password'), keys), true)
    assert.equal(keys.size, 2)
  })

  it('is wrong where it is to be wrong', () => {
    const verifier = verifierOf('the password', 10)
    assert.equal(login(verifier, new KeyRing('another')), false)
    const none = new KeyRing('')
    assert.equal(login(verifier, none), false)
    assert.equal(none.size, 0)
  })
})

describe('its statements', () => {
  it('have another number each time, in the same place', () => {
    for (const how of ['simple', 'extended', 'prepared'] as const) {
      const template = selectTemplate(how)
      const [one, other] = [17, 1_000_000].map((value) => template.fill(value).toString('latin1'))
      assert.match(one!, /000000017/, how)
      assert.match(other!, /001000000/, how)
      assert.equal(one!.length, other!.length)
    }
  })

  it('send the text only where the protocol does', () => {
    const texts = ['simple', 'extended', 'prepared'].map((how) =>
      selectTemplate(how as 'simple')
        .fill(1)
        .toString('latin1'),
    )
    assert.deepEqual(
      texts.map((text) => text.includes('SELECT abalance')),
      [true, true, false],
    )
    assert.match(prepareSelect().toString('latin1'), /bench_select\0SELECT abalance/)
    assert.match(texts[2]!, /bench_select/)
  })

  it('of TPC-B stay within the scale', () => {
    for (let i = 0; i < 200; i++) {
      const text = tpcb(2).join('')
      const number = (name: string) => Number(new RegExp(`${name} = (\\d+);`).exec(text)![1])
      assert.equal(text.match(/BEGIN|UPDATE|SELECT|INSERT|END/g)?.length, 7)
      assert.ok(number('aid') >= 1 && number('aid') <= 200_000)
      assert.ok(number('bid') <= 2 && number('tid') <= 20)
    }
  })
})
