// The two login machines against peers that do not keep to the rules.
import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import fc from 'fast-check'
import type { ClientAuthMethod } from '../../../src/auth/access.ts'
import { ClientAuth, ClientAuthContext } from '../../../src/auth/client-auth.ts'
import { PasswordWork } from '../../../src/auth/password-work.ts'
import type { Secret } from '../../../src/auth/secrets.ts'
import {
  type Line,
  ServerAuth,
  type ServerCredential,
  type ServerLogin,
} from '../../../src/auth/server-auth.ts'
import {
  authenticationMd5,
  authenticationOk,
  authenticationSasl,
  authenticationSaslContinue,
  authenticationSaslFinal,
  MAX_PASSWORD_BODY,
  parseAuthentication,
  parsePasswordMessage,
  parseSaslInitialResponse,
  passwordMessage,
  saslInitialResponse,
} from '../../../src/wire/auth-messages.ts'
import { LINE, LOCAL, messages, REMOTE, seeded, settledClient, settledServer, verifier } from './support.ts'

const body = (message: Buffer) => messages(message)[0].body
const plain: Secret = { kind: 'plain', password: 'pencil' }

describe('the login of a client', () => {
  const context = new ClientAuthContext(seeded('frontend'))
  const begun = (method: ClientAuthMethod, secret: Secret | null = plain) => {
    const auth = new ClientAuth(context, { user: 'u', method, secret, ...REMOTE })
    auth.begin()
    return auth
  }
  const failed = async (auth: ClientAuth, given: Buffer) => {
    const outcome = await settledClient(auth.receive(given))
    assert(outcome.kind === 'failure')
    return `${outcome.failure.sqlstate} ${outcome.failure.message}`
  }

  it('refuses malformed messages in Postgres words', async () => {
    assert.equal(await failed(begun('md5'), Buffer.from('md5')), '08P01 invalid password packet size')
    assert.equal(await failed(begun('md5'), Buffer.alloc(0)), '08P01 invalid password packet size')
    assert.equal(await failed(begun('md5'), Buffer.from('a\0b\0')), '08P01 invalid password packet size')
    assert.equal(await failed(begun('md5'), Buffer.from('\0')), '28P01 empty password returned by client')
    const scram = () => begun('scram-sha-256')
    assert.equal(await failed(scram(), Buffer.from('SCRAM-SHA-256')), '08P01 invalid message format')
    const plus = body(saslInitialResponse('SCRAM-SHA-256-PLUS', Buffer.from('n,,n=,r=a')))
    assert.equal(
      await failed(scram(), plus),
      '08P01 client selected an invalid SASL authentication mechanism',
    )
    const empty = body(saslInitialResponse('SCRAM-SHA-256', Buffer.alloc(0)))
    assert.equal(await failed(scram(), empty), '08P01 malformed SCRAM message')
  })

  it('asks again where the first message of the mechanism is missing', async () => {
    const auth = begun('scram-sha-256')
    const without = Buffer.from('SCRAM-SHA-256\0\xff\xff\xff\xff', 'latin1')
    const outcome = await settledClient(auth.receive(without))
    assert(outcome.kind === 'send')
    assert.deepEqual(outcome.messages, authenticationSaslContinue(Buffer.alloc(0)))
    const next = await settledClient(auth.receive(Buffer.from('n,,n=,r=abc')))
    assert.equal(next.kind, 'send')
  })

  it('ends with its first failure', async () => {
    const auth = begun('md5')
    await failed(auth, Buffer.from('md5wrong\0'))
    assert.equal(await failed(auth, Buffer.from('md5wrong\0')), '08P01 unexpected password message')
  })

  it('fails where a message comes while the password is being hashed', async () => {
    const login = { user: 'slow', method: 'scram-sha-256', secret: plain, ...REMOTE } as const
    const auth = new ClientAuth(context, login)
    const server = new ServerAuth(
      { user: 'slow', credential: plain, where: '', line: LINE },
      { random: seeded('b'), work: new PasswordWork() },
    )
    let sent = auth.begin()
    let step = null
    for (let i = 0; i < 2; i++) {
      assert(sent.kind === 'send')
      const reply = await settledServer(server.receive(body(sent.messages)))
      assert(reply.kind === 'reply')
      step = auth.receive(body(reply.bytes))
      if (step.kind === 'send') sent = step
    }
    assert(step?.kind === 'wait')
    assert.equal(auth.receive(Buffer.alloc(0)).kind, 'failure')
    assert.equal((await step.outcome).kind, 'failure')
  })

  it('says so where too many passwords are waiting', async () => {
    const busy = new ClientAuthContext(seeded('x'), new PasswordWork({ cached: 1, inFlight: 0, queued: 0 }))
    const auth = new ClientAuth(busy, { user: 'u', method: 'scram-sha-256', secret: plain, ...LOCAL })
    const server = new ServerAuth(
      { user: 'u', credential: plain, where: '', line: LINE },
      { random: seeded('b'), work: new PasswordWork() },
    )
    let outcome = auth.begin()
    while (outcome.kind === 'send') {
      const reply = await settledServer(server.receive(body(outcome.messages)))
      assert(reply.kind === 'reply')
      outcome = await settledClient(auth.receive(body(reply.bytes)))
    }
    assert.equal(outcome.kind === 'failure' && outcome.failure.sqlstate, '53300')
  })

  it('comes to a verdict for any bytes, and never to success', async () => {
    const methods = fc.constantFrom<ClientAuthMethod>('md5', 'scram-sha-256')
    const secrets = fc.constantFrom<Secret | null>(plain, null, verifier('pencil', undefined, 10))
    const mechanism = fc
      .uint8Array({ maxLength: 100 })
      .map((data) => body(saslInitialResponse('SCRAM-SHA-256', data)))
    const raw = fc.uint8Array({ maxLength: 100 }).map((bytes) => Buffer.from(bytes))
    const right = fc.constant(body(saslInitialResponse('SCRAM-SHA-256', Buffer.from('n,,n=,r=abc'))))
    const first = fc.oneof(raw, mechanism, right)
    await fc.assert(
      fc.asyncProperty(
        methods,
        secrets,
        first,
        fc.array(raw, { maxLength: 3 }),
        async (method, secret, one, more) => {
          const auth = begun(method, secret)
          for (const bytes of [one, ...more]) {
            const outcome = await settledClient(auth.receive(bytes))
            assert.notEqual(outcome.kind, 'success')
          }
        },
      ),
    )
  })
})

describe('our login to a server', () => {
  const machinery = { random: seeded('backend'), work: new PasswordWork() }
  const begun = (credential: ServerCredential | null, more: Partial<ServerLogin> = {}) =>
    new ServerAuth({ user: 'joe', credential, where: 'db:5432', line: LINE, ...more }, machinery)
  const told = async (auth: ServerAuth, ...requests: Buffer[]) => {
    let outcome = null
    for (const request of requests) outcome = await settledServer(auth.receive(body(request)))
    assert(outcome !== null)
    return outcome.kind === 'error' ? `${outcome.failure.sqlstate} ${outcome.failure.message}` : outcome.kind
  }
  const number = (code: number) => {
    const request = Buffer.from('R\0\0\0\x08\0\0\0\0', 'latin1')
    request.writeUInt32BE(code, 5)
    return request
  }
  const scram = authenticationSasl(['SCRAM-SHA-256'])

  it('takes trust, cleartext, md5 and SCRAM', async () => {
    assert.equal(await told(begun(null), authenticationOk()), 'ok')
    const clear = await settledServer(begun(plain).receive(body(number(3))))
    assert(clear.kind === 'reply')
    assert.deepEqual(clear.bytes, passwordMessage('pencil'))
    assert.equal(await told(begun(plain), number(3), authenticationOk()), 'ok')
    assert.equal(await told(begun(plain), authenticationMd5(Buffer.alloc(4)), authenticationOk()), 'ok')
    assert.equal(await told(begun(plain), scram), 'reply')
  })

  it('says what to do where it has no password, or not the right kind', async () => {
    const asks = '28P01 Postgres at db:5432 asks for'
    const way = 'set users.joe.password or upstream.password'
    const missing = `${asks} a password for user joe and none is configured: ${way}`
    for (const request of [number(3), authenticationMd5(Buffer.alloc(4)), scram]) {
      assert.equal(await told(begun(null), request), missing)
    }
    const hash: Secret = { kind: 'md5', hash: '0'.repeat(32) }
    assert.equal(
      await told(begun(hash), scram),
      `${asks} SCRAM for user joe and only an md5 hash is configured`,
    )
    assert.equal(
      await told(begun(verifier('pencil')), scram),
      `${asks} SCRAM for user joe and only a SCRAM verifier is configured`,
    )
  })

  it('refuses methods that it does not have', async () => {
    for (const [code, name] of [
      [2, 'Kerberos V5'],
      [7, 'GSSAPI'],
      [9, 'SSPI'],
      [99, 'authentication method 99'],
    ] as const) {
      assert.equal(
        await told(begun(plain), number(code)),
        `28000 Postgres at db:5432 asks for ${name}, which pgmux does not support`,
      )
    }
    assert.match(await told(begun(plain), authenticationSasl(['OAUTHBEARER'])), /^28000 .* no SASL mechanism/)
  })

  it('binds SCRAM to the channel as libpq does', async () => {
    const endPoint = Buffer.from('hash of the certificate')
    const both = ['SCRAM-SHA-256-PLUS', 'SCRAM-SHA-256']
    const unbound = ['SCRAM-SHA-256']
    const cases: [Partial<Line>, string[], string][] = [
      [{ isEncrypted: true, endPoint }, both, 'SCRAM-SHA-256-PLUS p=tls-server-end-point,,'],
      [{ isEncrypted: true, endPoint, channelBinding: 'require' }, both, 'SCRAM-SHA-256-PLUS p=tls-'],
      [{ isEncrypted: true, endPoint, channelBinding: 'disable' }, both, 'SCRAM-SHA-256 n,,'],
      [{ isEncrypted: true, endPoint }, unbound, 'SCRAM-SHA-256 y,,'],
      [{ isEncrypted: true, endPoint, channelBinding: 'disable' }, unbound, 'SCRAM-SHA-256 n,,'],
      [{ isEncrypted: true }, both, 'SCRAM-SHA-256 n,,'],
      [{}, unbound, 'SCRAM-SHA-256 n,,'],
      [{}, both, '08P01 Postgres at db:5432 offers SCRAM-SHA-256-PLUS on a connection without TLS'],
      [{ isEncrypted: true, endPoint, channelBinding: 'disable' }, ['SCRAM-SHA-256-PLUS'], '28000 '],
      [{ channelBinding: 'require' }, unbound, '28000 Postgres at db:5432 is reached without TLS'],
      [{ isEncrypted: true, channelBinding: 'require' }, both, '28000 Postgres at db:5432 has a certificate'],
      [
        { isEncrypted: true, endPoint, channelBinding: 'require' },
        unbound,
        '28000 Postgres at db:5432 does not offer SCRAM-SHA-256-PLUS, and upstream.channel_binding',
      ],
    ]
    for (const [more, offered, expected] of cases) {
      const auth = begun(plain, { line: { ...LINE, ...more } })
      const outcome = await settledServer(auth.receive(body(authenticationSasl(offered))))
      const said = outcome.kind === 'reply' ? parseSaslInitialResponse(body(outcome.bytes)) : null
      const failure = outcome.kind === 'error' ? outcome.failure : null
      const found = said ? `${said.mechanism} ${said.data}` : `${failure?.sqlstate} ${failure?.message}`
      assert.ok(found.startsWith(expected), `${found}, not ${expected}`)
    }
  })

  it('takes nothing but a bound login where binding is required', async () => {
    const line: Line = { ...LINE, isEncrypted: true, endPoint: Buffer.alloc(32), channelBinding: 'require' }
    const refusals = [authenticationOk(), number(3), authenticationMd5(Buffer.alloc(4))]
    for (const request of refusals)
      assert.match(await told(begun(plain, { line }), request), /^28000 .*\.channel_binding is require$/)
  })

  it('does not say its password where others can hear it', async () => {
    assert.match(
      await told(begun(plain, { line: { ...LINE, isConfidential: false } }), number(3)),
      /^28000 .* in the clear/,
    )
    const md5 = authenticationMd5(Buffer.alloc(4))
    assert.equal(await told(begun(plain, { line: { ...LINE, isConfidential: false } }), md5), 'reply')
  })

  it('refuses messages out of order, above all a login that was not proved', async () => {
    const order = '08P01 Postgres at db:5432 sent an authentication message out of order'
    const more = authenticationSaslContinue(Buffer.from('r=x,s=AAAA,i=1'))
    const final = authenticationSaslFinal(Buffer.from('v='))
    assert.equal(await told(begun(plain), scram, authenticationOk()), order)
    assert.equal(await told(begun(plain), scram, final), order)
    assert.equal(await told(begun(plain), scram, scram), order)
    assert.equal(await told(begun(plain), scram, number(3)), order)
    assert.equal(await told(begun(plain), scram, authenticationMd5(Buffer.alloc(4))), order)
    assert.equal(await told(begun(plain), more), order)
    assert.equal(await told(begun(plain), final), order)
    assert.equal(await told(begun(plain), number(3), number(3)), order)
    assert.equal(await told(begun(plain), number(3), scram), order)
    assert.equal(await told(begun(plain), authenticationOk(), authenticationOk()), order)
  })

  it('refuses an AuthenticationOk while its password is being hashed', async () => {
    const auth = begun(plain)
    const first = await settledServer(auth.receive(body(scram)))
    assert(first.kind === 'reply')
    const response = parseSaslInitialResponse(body(first.bytes))
    const nonce = response?.data?.toString().slice('n,,n=,r='.length)
    const step = auth.receive(body(authenticationSaslContinue(Buffer.from(`r=${nonce}x,s=AAAA,i=4096`))))
    assert(step.kind === 'wait')
    assert.equal(auth.receive(body(authenticationOk())).kind, 'error')
    assert.equal((await step.outcome).kind, 'error')
  })

  it('never names a secret in an error', async () => {
    const auth = begun({ kind: 'plain', password: 'hunter2' }, { line: { ...LINE, isConfidential: false } })
    assert.doesNotMatch(await told(auth, number(3)), /hunter2/)
  })

  it('takes any bytes without a throw, and believes none', async () => {
    const raw = fc.uint8Array({ maxLength: 60 }).map((bytes) => Buffer.from(bytes))
    const coded = fc
      .tuple(fc.constantFrom(0, 3, 5, 10, 11, 12), fc.uint8Array({ maxLength: 60 }))
      .map(([code, rest]) => Buffer.concat([Buffer.from([0, 0, 0, code]), rest]))
    await fc.assert(
      fc.asyncProperty(fc.array(fc.oneof(raw, coded), { maxLength: 4 }), async (bodies) => {
        const auth = begun(plain)
        await settledServer(auth.receive(body(scram)))
        for (const bytes of bodies) assert.notEqual((await settledServer(auth.receive(bytes))).kind, 'ok')
      }),
    )
  })
})

describe('authentication messages', () => {
  it('read back what they write', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 100 }), (bytes) => {
        const data = Buffer.from(bytes)
        const initial = parseSaslInitialResponse(body(saslInitialResponse('X', data)))
        assert.deepEqual(initial, { mechanism: 'X', data })
        assert.deepEqual(parseAuthentication(body(authenticationSaslContinue(data))), {
          kind: 'saslContinue',
          data,
        })
        assert.deepEqual(parseAuthentication(body(authenticationSaslFinal(data))), {
          kind: 'saslFinal',
          data,
        })
      }),
    )
    const names = ['A', 'B']
    assert.deepEqual(parseAuthentication(body(authenticationSasl(names))), {
      kind: 'sasl',
      mechanisms: names,
    })
    assert.deepEqual(parsePasswordMessage(body(passwordMessage('ü'))), Buffer.from('ü'))
  })

  it('take any bytes and refuse what is too long', () => {
    fc.assert(
      fc.property(fc.uint8Array(), (bytes) => {
        parseAuthentication(Buffer.from(bytes))
        parsePasswordMessage(Buffer.from(bytes))
        parseSaslInitialResponse(Buffer.from(bytes))
      }),
    )
    const long = Buffer.alloc(MAX_PASSWORD_BODY + 1, 0x61)
    long[long.length - 1] = 0
    assert.equal(parsePasswordMessage(long), null)
    assert.equal(parseSaslInitialResponse(long), null)
    assert.equal(parseAuthentication(Buffer.concat([Buffer.from([0, 0, 0, 12]), long])), null)
  })

  it('refuse lists and lengths that do not fit', () => {
    const sasl = (rest: string) => parseAuthentication(Buffer.from(`\0\0\0\x0a${rest}`, 'latin1'))
    for (const rest of ['', 'A', 'A\0', 'A\0\0x', '\0\0']) assert.equal(sasl(rest), null, rest)
    assert.deepEqual(sasl('\0'), { kind: 'sasl', mechanisms: [] })
    for (const rest of [
      '\0\0\0\0\x01',
      '\0\xff\xff\xff\xfe',
      '\0\x7f\xff\xff\xffabc',
      '\0\0\0\0',
      'A',
      '\0\xff\xff\xff\xffx',
    ]) {
      assert.equal(parseSaslInitialResponse(Buffer.from(rest, 'latin1')), null)
    }
  })
})
