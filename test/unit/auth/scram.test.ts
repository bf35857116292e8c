// SCRAM-SHA-256 in both roles: the vectors of RFC 7677, the words of Postgres, and hostile peers.
import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import fc from 'fast-check'
import { PasswordWork } from '../../../src/auth/password-work.ts'
import {
  type Binding,
  MAX_ITERATIONS,
  MIN_ITERATIONS,
  ScramClient,
  ScramServerError,
} from '../../../src/auth/scram-client.ts'
import { strictBase64 } from '../../../src/auth/scram-keys.ts'
import { ScramServer } from '../../../src/auth/scram-server.ts'
import type { Random } from '../../../src/util/env.ts'
import { seeded, verifier } from './support.ts'

/** A source of chance that says these bytes, whatever is asked for. */
function fixed(base64: string): Random {
  return { next: () => 0, bytes: () => Buffer.from(base64, 'base64') }
}

// RFC 7677 section 3. Its nonces are base64 without padding and can be made by chance.
const USER = 'user'
const PASSWORD = 'pencil'
const SALT = 'W22ZaJ0SNY7soEsUEjb6gQ=='
const CLIENT_NONCE = 'rOprNGfwEbeRWgbNEkqO'
const SERVER_NONCE = '%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0'
const NONCE = CLIENT_NONCE + SERVER_NONCE
const SERVER_FIRST = `r=${NONCE},s=${SALT},i=4096`
const CLIENT_FINAL = `c=biws,r=${NONCE},p=dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ=`
const SERVER_FINAL = 'v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4='

const work = new PasswordWork()

function startedClient(isProven = false, binding: Binding = 'cannot'): ScramClient {
  const client = new ScramClient({ random: fixed(CLIENT_NONCE), work, isProven })
  client.start(USER, { password: PASSWORD }, binding)
  return client
}

describe('the vectors of RFC 7677', () => {
  it('as client', async () => {
    const client = new ScramClient({ random: fixed(CLIENT_NONCE), work: new PasswordWork(), isProven: false })
    const first = client.start(USER, { password: PASSWORD }, 'cannot')
    assert.equal(first.toString(), `n,,n=${USER},r=${CLIENT_NONCE}`)
    assert.equal((await client.onContinue(Buffer.from(SERVER_FIRST))).toString(), CLIENT_FINAL)
    client.onFinal(Buffer.from(SERVER_FINAL))
  })

  it('as server', () => {
    // The server's part of the nonce in the RFC is no base64: chance is made to say the text itself.
    const bytes = Buffer.from(SERVER_NONCE)
    bytes.toString = () => SERVER_NONCE
    const server = new ScramServer(Buffer.from(SALT, 'base64'), 4096, { next: () => 0, bytes: () => bytes })
    const first = server.onClientFirst(Buffer.from(`n,,n=${USER},r=${CLIENT_NONCE}`))
    assert(first.ok)
    assert.equal(first.message.toString(), SERVER_FIRST)
    assert.deepEqual(server.onClientFinal(Buffer.from(CLIENT_FINAL)), { ok: true })
    const verdict = server.verify(verifier(PASSWORD, Buffer.from(SALT, 'base64')))
    assert(verdict.ok)
    assert.equal(verdict.serverFinal.toString(), SERVER_FINAL)
  })
})

describe('a SCRAM server', () => {
  const first = (message: string) =>
    new ScramServer(Buffer.from('salt'), 4096, seeded('s')).onClientFirst(Buffer.from(message, 'latin1'))
  const detail = (message: string) => {
    const reply = first(message)
    assert(!reply.ok)
    assert.equal(reply.failure.sqlstate, '08P01')
    assert.equal(reply.failure.message, 'malformed SCRAM message')
    return reply.failure.detail
  }

  it('says what is malformed in Postgres words', () => {
    assert.equal(detail(''), 'The message is empty.')
    assert.equal(detail('n,,n=,r=a\0'), 'Message length does not match input length.')
    assert.equal(detail('x,,n=,r=a'), 'Unexpected channel-binding flag "\'x\'".')
    assert.equal(detail('nn,n=,r=a'), 'Comma expected, but found character "\'n\'".')
    assert.equal(detail('n'), 'Comma expected, but found character "0x00".')
    assert.equal(detail('n,b,n=,r=a'), 'Unexpected attribute "\'b\'" in client-first-message.')
    assert.equal(detail('n,,r=a'), 'Expected attribute "n" but found "\'r\'".')
    assert.equal(detail('n,,nn,r=a'), 'Expected character "=" for attribute "n".')
    assert.equal(detail('n,,n='), 'Expected attribute "r" but found "0x00".')
    assert.equal(detail('n,,n=,r=a,1=2'), 'Attribute expected, but found invalid character "\'1\'".')
    assert.equal(
      detail('p=tls-server-end-point,,n=,r=a'),
      'The client selected SCRAM-SHA-256 without channel binding, ' +
        'but the SCRAM message includes channel binding data.',
    )
    assert.match(detail('\u001b,,'), /"0x1b"/)
  })

  it('refuses what it does not know', () => {
    const refused = (message: string) => {
      const reply = first(message)
      return reply.ok ? null : `${reply.failure.sqlstate} ${reply.failure.message}`
    }
    assert.equal(refused('n,a=x,n=,r=a'), '0A000 client uses authorization identity, but it is not supported')
    assert.equal(refused('n,,m=x,n=,r=a'), '0A000 client requires an unsupported SCRAM extension')
    assert.equal(refused('n,,n=,r='), '08P01 non-printable characters in SCRAM nonce')
    assert.equal(refused('n,,n=,r=\u0007'), '08P01 non-printable characters in SCRAM nonce')
    assert.equal(refused('y,,n=,r=a,x=ignored,y='), null)
  })

  const wellFormed = async (flag: string, change: (final: string) => string) => {
    const server = new ScramServer(Buffer.from('salt'), 10, seeded('s'))
    const client = new ScramClient({ random: seeded('c'), work, isProven: true })
    const opening = client.start('', { password: PASSWORD }, 'cannot').toString().replace(/^n/, flag)
    const challenge = server.onClientFirst(Buffer.from(opening))
    assert(challenge.ok)
    const final = (await client.onContinue(challenge.message)).toString()
    const reply = server.onClientFinal(Buffer.from(change(final)))
    return { reply, verdict: server.verify(verifier(PASSWORD, Buffer.from('salt'), 10)) }
  }

  it('takes a right answer once the header it repeats is the one it sent', async () => {
    assert.equal((await wellFormed('n', (final) => final)).verdict.ok, true)
    const binding = 'unexpected SCRAM channel-binding attribute in client-final-message'
    for (const [flag, value] of [
      ['n', 'eSws'],
      ['y', 'biws'],
      ['n', ''],
      ['n', 'biws='],
    ]) {
      const { reply, verdict } = await wellFormed(flag, (final) => final.replace('biws', value))
      assert.equal(!reply.ok && reply.failure.message, binding)
      assert.equal(verdict.ok, false)
    }
  })

  it('refuses another nonce, a broken proof and anything behind it', async () => {
    const failure = async (change: (final: string) => string) => {
      const { reply, verdict } = await wellFormed('n', change)
      assert.equal(verdict.ok, false)
      return reply.ok ? 'ok' : `${reply.failure.message}: ${reply.failure.detail}`
    }
    assert.equal(
      await failure((f) => f.replace(',r=', ',r=x')),
      'invalid SCRAM response: Nonce does not match.',
    )
    assert.equal(
      await failure((f) => f.replace(/p=.*/, 'p=AAAA')),
      'malformed SCRAM message: Malformed proof in client-final-message.',
    )
    assert.equal(
      await failure((f) => `${f},x=y`),
      'malformed SCRAM message: Garbage found at the end of client-final-message.',
    )
    assert.equal(
      await failure((f) => f.replace(/,p=.*/, '')),
      'malformed SCRAM message: Attribute expected, but found end of string.',
    )
    assert.equal(await failure((f) => f.replace(/p=./, (p) => (p === 'p=A' ? 'p=B' : 'p=A'))), 'ok')
  })

  it('answers any bytes with a reply, and never proves a random one', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 200 }), fc.uint8Array({ maxLength: 200 }), (one, two) => {
        const server = new ScramServer(Buffer.from('salt'), 10, seeded('s'))
        server.onClientFirst(Buffer.from(one))
        server.onClientFinal(Buffer.from(two))
        assert.equal(server.verify(verifierOfNobody).ok, false)
      }),
    )
  })

  it('answers any well-formed fields with a reply', () => {
    const field = fc.string({ unit: 'binary', maxLength: 40 })
    fc.assert(
      fc.property(field, field, field, field, field, (flag, user, nonce, binding, proof) => {
        const server = new ScramServer(Buffer.from('salt'), 10, seeded('s'))
        const opening = server.onClientFirst(Buffer.from(`${flag},,n=${user},r=${nonce}`))
        const full = opening.ok ? opening.message.toString('latin1').slice(2).split(',')[0] : nonce
        server.onClientFinal(Buffer.from(`c=${binding},r=${full},p=${proof}`, 'latin1'))
        assert.equal(server.verify(verifierOfNobody).ok, false)
      }),
    )
  })
})

const verifierOfNobody = { storedKey: Buffer.alloc(32, 1), serverKey: Buffer.alloc(32, 2) }

// E09: nonces and fields of a server that does not keep to the rules.
describe('a SCRAM client', () => {
  const refusal = async (message: string | Buffer): Promise<string> => {
    const began = performance.now()
    try {
      await startedClient().onContinue(Buffer.from(message as string))
    } catch (error) {
      assert(error instanceof ScramServerError, String(error))
      assert(performance.now() - began < 50, 'hashing so often takes longer')
      return error.message
    }
    return 'accepted'
  }

  it('refuses hostile values of a server before they cost anything', async () => {
    const answer = (r: string, s: string, i: string) => refusal(`r=${r},s=${s},i=${i}`)
    assert.equal(await answer(NONCE, SALT, String(MIN_ITERATIONS)), 'accepted')
    assert.match(await answer(NONCE, SALT, String(MIN_ITERATIONS - 1)), /fewer than 4096 SCRAM iterations/)
    assert.match(await answer(NONCE, SALT, '1'), /fewer than 4096 SCRAM iterations/)
    for (const i of [
      '0',
      '-1',
      '',
      '01',
      '1e3',
      '4096x',
      ' 1',
      String(MAX_ITERATIONS + 1),
      '9'.repeat(4000),
    ]) {
      assert.match(await answer(NONCE, SALT, i), /iterations/, i)
    }
    for (const s of ['', 'A', 'AA=A', '!!!!', 'A'.repeat(1028), 'AAAA\n']) {
      assert.match(await answer(NONCE, s, '4096'), /salt/, s)
    }
    assert.match(await answer(CLIENT_NONCE, SALT, '4096'), /nonce/)
    assert.match(await answer('other', SALT, '4096'), /nonce/)
    assert.match(await answer(`${NONCE}\u0001`, SALT, '4096'), /nonce/)
    assert.match(await answer('', SALT, '4096'), /nonce/)
    assert.match(await refusal('x'.repeat(9000)), /too long/)
    assert.match(await refusal(`${SERVER_FIRST},x=${'y'.repeat(9000)}`), /too long/)
    assert.match(await refusal(`m=x,${SERVER_FIRST}`), /extension/)
    assert.equal(await refusal('e=unknown-user'), 'refused the SCRAM login: unknown-user')
    assert.equal(await refusal('e=\u001b[2J'), 'refused the SCRAM login')
    assert.match(await refusal(''), /malformed/)
    assert.match(await refusal(`${SERVER_FIRST}\0`), /malformed/)
    assert.equal(await refusal(`${SERVER_FIRST},x=optional`), 'accepted')
  })

  it('takes few iterations where the certificate was checked, and with keys', async () => {
    const few = Buffer.from(`r=${NONCE},s=${SALT},i=1`)
    assert.match(String(await startedClient(true).onContinue(few)), /^c=biws,r=/)
    const client = new ScramClient({ random: fixed(CLIENT_NONCE), work, isProven: false })
    client.start('', { clientKey: Buffer.alloc(32), serverKey: Buffer.alloc(32) }, 'cannot')
    assert.match(String(client.onContinue(few)), /^c=biws,r=/)
  })

  it('says what it is bound to, and says it again under its proof', async () => {
    for (const [binding, header, end] of [
      ['cannot', 'n,,', ''],
      ['not offered', 'y,,', ''],
      [{ endPoint: Buffer.from('hash') }, 'p=tls-server-end-point,,', 'hash'],
    ] as const) {
      const client = new ScramClient({ random: fixed(CLIENT_NONCE), work, isProven: false })
      const first = String(client.start('', { password: PASSWORD }, binding))
      assert.equal(first, `${header}n=,r=${CLIENT_NONCE}`)
      const final = String(await client.onContinue(Buffer.from(SERVER_FIRST)))
      assert.equal(Buffer.from(final.slice(2).split(',')[0] as string, 'base64').toString(), header + end)
    }
  })

  it('believes no server that cannot prove itself', async () => {
    for (const [final, words] of [
      ['v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G5=', /malformed/],
      [`v=${Buffer.alloc(32).toString('base64')}`, /could not prove/],
      ['v=', /malformed/],
      ['', /malformed/],
      ['e=invalid-proof', /refused the SCRAM login: invalid-proof/],
    ] as const) {
      const client = startedClient()
      await client.onContinue(Buffer.from(SERVER_FIRST))
      assert.throws(() => client.onFinal(Buffer.from(final)), words)
    }
    assert.throws(() => startedClient().onFinal(Buffer.from(SERVER_FINAL)), /too early/)
  })

  it('answers any bytes with a message or a clear error', async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.uint8Array({ maxLength: 300 }),
        fc.uint8Array({ maxLength: 300 }),
        async (one, two) => {
          const client = startedClient()
          await assert.rejects(async () => client.onContinue(Buffer.from(one)), ScramServerError)
          assert.throws(() => client.onFinal(Buffer.from(two)), ScramServerError)
        },
      ),
    )
  })

  it('writes a user name so that it cannot end its field', () => {
    const first = new ScramClient({ random: seeded('c'), work, isProven: false })
      .start('a,b=c', { password: '' }, 'cannot')
      .toString()
    assert.match(first, /^n,,n=a=2Cb=3Dc,r=/)
  })
})

describe('strictBase64', () => {
  it('takes what Node writes and nothing else', () => {
    fc.assert(
      fc.property(fc.uint8Array(), (bytes) => {
        assert.deepEqual(strictBase64(Buffer.from(bytes).toString('base64')), Buffer.from(bytes))
      }),
    )
    for (const text of ['A', 'AA', 'AAA', 'A===', '====', 'AAA=AAAA', 'AB==', 'AA A', '-_-_']) {
      assert.equal(strictBase64(text), null, text)
    }
  })
})
