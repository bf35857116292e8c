// SCRAM bound to the TLS below it, in the role of the server, with a client that was written apart from it.
// No vectors are published for SCRAM-SHA-256-PLUS; libpq is the other opinion, in the tests with programs.
import assert from 'node:assert/strict'
import { createHash } from 'node:crypto'
import { describe, it } from 'node:test'
import fc from 'fast-check'
import type { ClientAuthMethod } from '../../../src/auth/access.ts'
import { ClientAuth, ClientAuthContext, type ClientAuthOutcome } from '../../../src/auth/client-auth.ts'
import { type ScramBinding, ScramServer } from '../../../src/auth/scram-server.ts'
import { parseAuthentication, saslInitialResponse } from '../../../src/wire/auth-messages.ts'
import { ScramClient } from '../../support/scram.ts'
import { connection, messages, seeded, settledClient, verifier } from './support.ts'

const END_POINT = createHash('sha256').update('a certificate').digest()
const OTHER = createHash('sha256').update('the certificate of somebody in between').digest()
const OVER_TLS = connection({ encrypted: true, endPoint: END_POINT })
const UNBINDABLE = connection({ encrypted: true, endPoint: null })
const context = new ClientAuthContext(seeded('binding'))
const secret = verifier('pencil', undefined, 10)

function begin(method: ClientAuthMethod, on = OVER_TLS): ClientAuth {
  return new ClientAuth(context, { user: 'alice', method, secret, ...on })
}

function offered(outcome: ClientAuthOutcome): readonly string[] {
  assert(outcome.kind === 'send')
  const request = parseAuthentication(messages(outcome.messages)[0].body)
  assert(request?.kind === 'sasl')
  return request.mechanisms
}

/** A whole login. */
async function login(client: ScramClient, auth: ClientAuth): Promise<ClientAuthOutcome> {
  auth.begin()
  const opening = messages(saslInitialResponse(client.mechanism, Buffer.from(client.first())))[0].body
  const challenge = await settledClient(auth.receive(opening))
  if (challenge.kind !== 'send') return challenge
  const said = parseAuthentication(messages(challenge.messages)[0].body)
  assert(said?.kind === 'saslContinue')
  return settledClient(auth.receive(Buffer.from(client.answer(said.data.toString()))))
}

function words(outcome: ClientAuthOutcome): string {
  if (outcome.kind !== 'failure') return outcome.kind
  const { sqlstate, message, detail } = outcome.failure
  return [sqlstate, message, detail].join(' ').trim()
}

describe('the offer of channel binding', () => {
  it('comes first over TLS, and only there', () => {
    assert.deepEqual(offered(begin('scram-sha-256').begin()), ['SCRAM-SHA-256-PLUS', 'SCRAM-SHA-256'])
    assert.deepEqual(offered(begin('md5').begin()), ['SCRAM-SHA-256-PLUS', 'SCRAM-SHA-256'])
    assert.deepEqual(offered(begin('scram-sha-256', UNBINDABLE).begin()), ['SCRAM-SHA-256'])
    const local = connection({ loopback: true })
    assert.deepEqual(offered(begin('scram-sha-256', local).begin()), ['SCRAM-SHA-256'])
  })

  it('is the only one with scram-sha-256-plus, which needs TLS and a certificate to bind to', () => {
    assert.deepEqual(offered(begin('scram-sha-256-plus').begin()), ['SCRAM-SHA-256-PLUS'])
    for (const [on, hint] of [
      [connection({ loopback: true }), /sslmode=require/],
      [UNBINDABLE, /RSA or ECDSA/],
    ] as const) {
      const outcome = begin('scram-sha-256-plus', on).begin()
      assert.equal(words(outcome), '28000 this server takes SCRAM with channel binding only')
      assert.match(outcome.kind === 'failure' ? outcome.failure.hint : '', hint)
    }
  })
})

// E10: nobody in between can talk a client out of channel binding.
describe('a login with channel binding', () => {
  it('succeeds where both saw the same certificate', async () => {
    for (const method of ['scram-sha-256', 'scram-sha-256-plus', 'md5'] as const) {
      assert.equal((await login(new ScramClient('pencil', END_POINT), begin(method))).kind, 'success')
    }
    const wrong = await login(new ScramClient('pencil2', END_POINT), begin('scram-sha-256'))
    assert.equal(words(wrong), '28P01 password authentication failed for user "alice"')
  })

  it('fails where the client saw another certificate, even with the right password', async () => {
    const failed = '28000 SCRAM channel binding check failed'
    assert.equal(words(await login(new ScramClient('pencil', OTHER), begin('scram-sha-256'))), failed)
    const short = new ScramClient('pencil', END_POINT.subarray(0, 31))
    assert.equal(words(await login(short, begin('scram-sha-256'))), failed)
  })

  it('fails where the client believes that we cannot, and did not see our offer', async () => {
    const denied = await login(new ScramClient('pencil', null, true), begin('scram-sha-256'))
    assert.match(words(denied), /^28000 SCRAM channel binding negotiation error The client supports SCRAM/)
    // It is the truth where nothing was offered.
    const honest = await login(new ScramClient('pencil', null, true), begin('scram-sha-256', UNBINDABLE))
    assert.equal(honest.kind, 'success')
  })

  it('is not asked of a client that cannot, unless the method asks for it', async () => {
    const plain = () => new ScramClient('pencil', null)
    assert.equal((await login(plain(), begin('scram-sha-256'))).kind, 'success')
    const refused = '08P01 client selected an invalid SASL authentication mechanism'
    assert.equal(words(await login(plain(), begin('scram-sha-256-plus'))), refused)
    const bound = new ScramClient('pencil', END_POINT)
    assert.equal(words(await login(bound, begin('scram-sha-256', UNBINDABLE))), refused)
  })

  it('takes no other kind of binding, and no mechanism that its message contradicts', () => {
    const first = (message: string, binding: ScramBinding) => {
      const server = new ScramServer(Buffer.from('salt'), 10, seeded('s'), binding)
      const reply = server.onClientFirst(Buffer.from(message))
      return reply.ok ? 'ok' : `${reply.failure.sqlstate} ${reply.failure.message} ${reply.failure.detail}`
    }
    const used = { endPoint: END_POINT, isUsed: true }
    const unused = { endPoint: END_POINT, isUsed: false }
    assert.equal(first('p=tls-server-end-point,,n=,r=a', used), 'ok')
    for (const type of ['tls-unique', 'tls-exporter', 'TLS-server-end-point', 'tls-server-end-point ', '']) {
      const shown = type.replace(' ', '?')
      const refused = `08P01 unsupported SCRAM channel-binding type "${shown}" `
      assert.equal(first(`p=${type},,n=,r=a`, used), refused)
    }
    assert.match(first(`p=${'\u001b'.repeat(99)},,n=,r=a`, used), / "\?{30}" $/)
    assert.match(first('p,,n=,r=a', used), /Expected character "=" for attribute "p"/)
    assert.match(first('p=tls-server-end-point', used), /Unexpected attribute "0x00" in client-first-message/)
    assert.match(
      first('p=tls-server-end-point,a=x,n=,r=a', used),
      /^0A000 client uses authorization identity/,
    )
    for (const flag of ['n', 'y'])
      assert.match(first(`${flag},,n=,r=a`, used), /does not include channel bin/)
    assert.match(first('p=tls-server-end-point,,n=,r=a', unused), /^08P01 .* includes channel binding data/)
  })
})

describe('the GS2 header', () => {
  const bindings = fc.constantFrom<ScramBinding>(
    { endPoint: END_POINT, isUsed: true },
    { endPoint: END_POINT, isUsed: false },
    { endPoint: null, isUsed: false },
  )
  const flags = fc.oneof(
    fc.constantFrom('n', 'y', 'p', 'p=tls-server-end-point', 'p=tls-unique', 'p=', 'N', ''),
    fc.string({ maxLength: 30 }),
  )
  const identities = fc.oneof(fc.constantFrom('', 'a=admin', 'a='), fc.string({ maxLength: 5 }))

  it('is taken if, and only if, it is one of the three that fit the offer', () => {
    fc.assert(
      fc.property(bindings, flags, identities, (binding, flag, identity) => {
        const server = new ScramServer(Buffer.from('salt'), 10, seeded('s'), binding)
        const reply = server.onClientFirst(Buffer.from(`${flag},${identity},n=,r=abc`, 'latin1'))
        const right = binding.isUsed
          ? ['p=tls-server-end-point']
          : binding.endPoint === null
            ? ['n', 'y']
            : ['n']
        assert.equal(reply.ok, identity === '' && right.includes(flag))
        if (!reply.ok) assert.match(reply.failure.sqlstate, /^(08P01|0A000|28000)$/)
      }),
      { numRuns: 1000 },
    )
  })

  it('is repeated in the last message, with what the login is bound to and nothing else', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 80 }), fc.boolean(), (bytes, isUsed) => {
        const server = new ScramServer(Buffer.from('salt'), 10, seeded('s'), { endPoint: END_POINT, isUsed })
        const header = isUsed ? 'p=tls-server-end-point,,' : 'n,,'
        const opening = server.onClientFirst(Buffer.from(`${header}n=,r=abc`))
        assert(opening.ok)
        const nonce = opening.message.toString().slice(2).split(',')[0]
        const answer = (binding: Uint8Array) => {
          const proof = Buffer.alloc(32).toString('base64')
          const value = Buffer.from(binding).toString('base64')
          return server.onClientFinal(Buffer.from(`c=${value},r=${nonce},p=${proof}`)).ok
        }
        const right = Buffer.from(header)
        assert.equal(answer(isUsed ? Buffer.concat([right, END_POINT]) : right), true)
        assert.equal(answer(bytes), false)
        assert.equal(answer(Buffer.concat([right, bytes])), !isUsed && bytes.length === 0)
      }),
    )
  })
})
