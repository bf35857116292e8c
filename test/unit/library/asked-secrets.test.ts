// The hook `authenticate` as a source of secrets: its answers, what is none, and that who exists does not
// show.
import assert from 'node:assert/strict'
import { it } from 'node:test'
import { AskedSecrets } from '../../../src/library/asked-secrets.ts'

const zeros = (length: number): string => Buffer.alloc(length).toString('base64')
const VERIFIER = `SCRAM-SHA-256$4096:${zeros(16)}$${zeros(32)}:${zeros(32)}`

function asking(answers: Record<string, unknown>): {
  secrets: AskedSecrets
  warmed: string[]
  problems: string[]
} {
  const warmed: string[] = []
  const problems: string[] = []
  const ask = ({ user }: { user: string }): string => answers[user] as string
  const secrets = new AskedSecrets(ask, 50, (problem) => problems.push(problem))
  secrets.warm = async (user) => {
    warmed.push(user)
  }
  return { secrets, warmed, problems }
}

const of = (user: string) => ({ user, database: 'd' })

it('takes each kind of secret, and none', async () => {
  const { secrets } = asking({
    plain: 'x',
    hash: `md5${'0'.repeat(32)}`,
    verifier: VERIFIER,
    nobody: null,
    empty: '',
  })
  const kinds: unknown[] = []
  for (const user of ['plain', 'hash', 'verifier', 'nobody', 'empty', 'unheard']) {
    const answer = await secrets.lookup(of(user))
    kinds.push('secret' in answer ? (answer.secret?.kind ?? null) : answer.failure.sqlstate)
  }
  assert.deepEqual(kinds, ['plain', 'md5', 'scram', null, null, null])
})

it('once there are plain passwords, one is hashed for who does not exist as well', async () => {
  const { secrets, warmed } = asking({ plain: 'x', verifier: VERIFIER })
  await secrets.lookup(of('nobody'))
  assert.deepEqual(warmed, [])
  await secrets.lookup(of('plain'))
  await secrets.lookup(of('nobody'))
  await secrets.lookup(of('verifier'))
  assert.deepEqual(warmed, ['plain', 'nobody'])
})

it('asks for a thousand at once and no more', async () => {
  const { secrets, problems } = asking({})
  const never = new AskedSecrets(
    () => new Promise<string>(() => {}),
    50,
    (problem) => problems.push(problem),
  )
  const all = await Promise.all(Array.from({ length: 1100 }, (_, i) => never.lookup(of(`u${i}`))))
  assert.ok(all.every((answer) => 'failure' in answer && answer.failure.sqlstate === '58000'))
  assert.equal(problems.length, 1000)
  assert.deepEqual(problems[0], 'gave no answer within 50 ms')
  assert.deepEqual(await secrets.lookup(of('x')), { secret: null })
})
