// Servers that attack us at our login: each is left at once, before anything was computed for it, and the
// clients of another database notice nothing. Must never need a real Postgres to go wrong.
import assert from 'node:assert/strict'
import crypto from 'node:crypto'
import { syncBuiltinESMExports } from 'node:module'
import type { Socket } from 'node:net'
import { after, before, suite, test } from 'node:test'
import { direct, through } from '../support/compare.ts'
import { Healthy } from '../support/healthy.ts'
import * as m from '../support/messages.ts'
import { startPooler, type TestPooler } from '../support/pooler.ts'
import { getPostgres } from '../support/postgres.ts'
import { errorOf, Rogue, WELCOME } from '../support/rogue.ts'
import { until } from '../support/waits.ts'
import { LoginError, WireClient } from '../support/wire-client.ts'

/** From its last byte to our close, in ms. By far more than it takes: tests share the machine. */
const PATIENCE = 500

const postgres = await getPostgres()

let hashings = 0
const { pbkdf2 } = crypto
crypto.pbkdf2 = ((...args: Parameters<typeof pbkdf2>) => {
  hashings++
  pbkdf2(...args)
}) as typeof pbkdf2
syncBuiltinESMExports()

function number(value: number): Buffer {
  const bytes = Buffer.alloc(4)
  bytes.writeInt32BE(value)
  return bytes
}

const authentication = (code: number, text = '') => m.message('R', number(code), text)
const OFFER = authentication(10, 'SCRAM-SHA-256\0\0')
const OK = authentication(0)

/** What a server says to the startup packet, and then to each message in turn; `#` is our nonce. */
interface Attack {
  readonly name: string
  readonly says: readonly ((nonce: string) => Buffer)[]
  readonly code: string
  readonly words: RegExp
  /** It comes so far that we compute something. */
  readonly isLate?: true
}

const first = (text: string) => (nonce: string) => authentication(11, text.replace('#', nonce))
const offer = () => OFFER
const always = (bytes: Buffer) => () => bytes
const ORDER = /authentication message out of order/

const ATTACKS: Attack[] = [
  {
    name: '2^31 iterations',
    says: [offer, first('r=#x,s=c2FsdA==,i=2147483648')],
    code: '08P01',
    words: /number of SCRAM iterations that is not between/,
  },
  {
    name: 'a million iterations and one',
    says: [offer, first('r=#x,s=c2FsdA==,i=1000001')],
    code: '08P01',
    words: /number of SCRAM iterations that is not between/,
  },
  {
    name: 'no iterations',
    says: [offer, first('r=#x,s=c2FsdA==,i=0')],
    code: '08P01',
    words: /number of SCRAM iterations that is not between/,
  },
  {
    name: 'one iteration',
    says: [offer, first('r=#x,s=c2FsdA==,i=1')],
    code: '28000',
    words: /asks for fewer than 4096 SCRAM iterations and has not shown who it is/,
  },
  {
    name: 'another nonce',
    says: [offer, first('r=another,s=c2FsdA==,i=4096')],
    code: '08P01',
    words: /nonce that does not continue ours/,
  },
  {
    name: 'a nonce of 60 KB',
    says: [offer, first(`r=#${'x'.repeat(60_000)},s=c2FsdA==,i=4096`)],
    code: '08P01',
    words: /too long/,
  },
  {
    name: 'an error of SCRAM where a challenge belongs',
    says: [offer, first('e=other-error')],
    code: '08P01',
    words: /refused the SCRAM login: other-error/,
  },
  {
    name: 'SASLFinal before a challenge',
    says: [offer, always(authentication(12, 'v=c2FsdA=='))],
    code: '08P01',
    words: ORDER,
  },
  { name: 'AuthenticationOk before a challenge', says: [offer, always(OK)], code: '08P01', words: ORDER },
  {
    name: 'AuthenticationOk before SASLFinal',
    says: [offer, first('r=#x,s=c2FsdA==,i=4096'), always(OK)],
    code: '08P01',
    words: ORDER,
    isLate: true,
  },
  {
    name: 'a signature of somebody else',
    says: [
      offer,
      first('r=#x,s=c2FsdA==,i=4096'),
      always(authentication(12, `v=${Buffer.alloc(32).toString('base64')}`)),
    ],
    code: '08P01',
    words: /could not prove that it knows the password/,
    isLate: true,
  },
  {
    name: 'SCRAM-SHA-256-PLUS without TLS',
    says: [always(authentication(10, 'SCRAM-SHA-256-PLUS\0SCRAM-SHA-256\0\0'))],
    code: '08P01',
    words: /offers SCRAM-SHA-256-PLUS on a connection without TLS/,
  },
  {
    name: 'an error without SQLSTATE',
    says: [always(errorOf({ S: 'FATAL', M: 'go away' }))],
    code: '08006',
    words: /go away/,
  },
  {
    name: 'an error of endless fields',
    says: [always(Buffer.concat([Buffer.from('E'), number(2 ** 29), Buffer.from('Dx\0'.repeat(50_000))]))],
    code: '08001',
    words: /an endless message/,
  },
]

suite('attacks of a server at our login', () => {
  let evil: Rogue
  let pooler: TestPooler
  let healthy: Healthy
  /** By the user who logs in; '': in answer to SSLRequest. */
  const attacks = new Map<string, Attack['says']>()
  /** ms from the last byte of each connection to our close. */
  const reactions = new Map<string, number[]>()
  const saidAt = new WeakMap<Socket, number>()
  const turns = new WeakMap<Socket, { user: string; count: number }>()

  function say(socket: Socket, message: Buffer): Buffer {
    const user = /user\0([^\0]*)\0/.exec(message.toString('latin1'))?.[1] ?? ''
    const turn = turns.get(socket) ?? { user, count: 0 }
    if (turn.count === 0) {
      turns.set(socket, turn)
      const list = reactions.get(user) ?? []
      reactions.set(user, list)
      socket.once('close', () => list.push(performance.now() - (saidAt.get(socket) as number)))
    }
    const nonce = /r=([^,]+)/.exec(message.toString('latin1'))?.[1] ?? ''
    const bytes = attacks.get(turn.user)?.[turn.count++]?.(nonce) ?? Buffer.alloc(0)
    saidAt.set(socket, performance.now())
    return bytes
  }

  before(async () => {
    evil = await Rogue.open()
    evil.script = { onStart: say, onMessage: say }
    const to = { host: '127.0.0.1', port: evil.port, password: 'the secret' }
    pooler = await startPooler(postgres.url, {
      client: { auth: 'trust' },
      upstream: { connectTimeoutMs: 2 * PATIENCE },
      pool: { size: 1 },
      databases: new Map([
        [postgres.database, {}],
        ['evil', { ...to, tls: { mode: 'disable' } }],
        ['evil with TLS', { ...to, tls: { mode: 'require' } }],
      ]),
    })
    healthy = await Healthy.start(through(pooler, postgres, direct(postgres)))
  })
  after(async () => {
    await healthy.stop()
    await pooler.stop()
    await evil.close()
  })

  /** What a client is told, once all connections of its pool to the server were left. */
  async function refusal(database: string, user: string): Promise<string> {
    const login = WireClient.connect({ host: pooler.host, port: pooler.port, user, database })
    const error = await login.then(
      () => assert.fail(`logged in: ${user}`),
      (reason: unknown) => reason,
    )
    assert.ok(error instanceof LoginError, String(error))
    return `${error.code} ${error.message}`
  }

  async function assertLeft(user: string): Promise<void> {
    await until(
      () => (reactions.get(user)?.length ?? 0) > 0,
      () => `not left: ${user}`,
    )
    for (const ms of reactions.get(user) ?? []) assert.ok(ms < PATIENCE, `${user}: left after ${ms} ms`)
  }

  async function assertRefused({ name, says, code, words }: Attack): Promise<void> {
    attacks.set(name, says)
    const told = await refusal('evil', name)
    assert.ok(told.startsWith(`${code} `), `${name}: ${told}`)
    assert.match(told, words)
    assert.doesNotMatch(told, /the secret/)
    await assertLeft(name)
  }

  test('each is left at once, before a password is hashed', async () => {
    const begun = hashings
    await Promise.all(ATTACKS.filter(({ isLate }) => isLate === undefined).map(assertRefused))
    assert.equal(hashings, begun)
    await healthy.goesOn()
  })

  test('those that come after the proof are left at once as well', async () => {
    const begun = hashings
    await Promise.all(ATTACKS.filter(({ isLate }) => isLate === true).map(assertRefused))
    assert.equal(hashings, begun + 1, 'the same password, salt and count are hashed once')
    await healthy.goesOn()
  })

  for (const [name, said] of [
    ['a whole login behind S', Buffer.concat([Buffer.from('S'), WELCOME])],
    ['one byte behind S', Buffer.from('SS')],
    ['an error in the clear', errorOf({ S: 'FATAL', C: '57P03', M: 'words of a stranger' })],
  ] as const) {
    test(`in answer to SSLRequest: ${name}`, async () => {
      reactions.clear()
      attacks.set('', [always(said)])
      const told = await refusal('evil with TLS', name)
      assert.match(told, /^08001 /)
      assert.doesNotMatch(told, /stranger/)
      await assertLeft('')
      await healthy.goesOn()
    })
  }
})
