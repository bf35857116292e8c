// Whether a name and a password are those of a user, as clients of the console would be asked: the same
// secrets, the same rules of pg_hba.conf, the same limit on wrong passwords, the same words and the same work
// for users that there are and are not. It keeps nothing.
import { SCRAM_ITERATIONS } from '../../auth/client-auth.ts'
import { type AuthFailure, wrongPassword } from '../../auth/failure.ts'
import { limitedCheck } from '../../auth/limited-check.ts'
import { aliasesOf } from '../../frontend/console-door.ts'
import { loginFailed } from '../../frontend/refusals.ts'
import type { House } from '../../frontend/types.ts'
import { isLoopback } from '../../net/peer.ts'
import type { Credentials } from './types.ts'

/** What is asked of the house. */
export type CheckingHouse = Pick<House, 'auth' | 'secrets' | 'judge' | 'onRefused' | 'time'>

/** As the console is called. */
const DATABASE = 'pgmux'

/** @param hasRules pg_hba.conf says who comes in @returns why not; null: they are */
export async function checkCredentials(
  house: CheckingHouse,
  credentials: Credentials,
  hasRules: boolean,
): Promise<AuthFailure | null> {
  const failure = await failureOf(house, credentials, hasRules)
  if (failure === null) return null
  const { user, address } = credentials
  house.onRefused({ user, address, database: DATABASE }, loginFailed(failure, 'auth_failed'))
  return failure
}

async function failureOf(
  house: CheckingHouse,
  { user, password, address }: Credentials,
  hasRules: boolean,
): Promise<AuthFailure | null> {
  const { auth, secrets, time } = house
  const visitor = { user, address, database: DATABASE }
  if (user === '' || password === '') return wrongPassword(user)
  const refused = hasRules ? refusedByRules(house, user, address) : null
  if (refused !== null) return refused
  const found = await secrets.lookup(user, DATABASE)
  if ('failure' in found) return found.failure
  const { secret } = found
  if (secret !== null) auth.notice(secret)
  const answer = await limitedCheck(
    auth.work,
    { user, secret, salt: auth.saltOf(user), iterations: SCRAM_ITERATIONS },
    { password: Buffer.from(password, 'utf8'), tries: auth.failures.triesOf(visitor, time) },
  )
  if ('sqlstate' in answer) return answer
  if (answer.isRight && secret !== null) return null
  secrets.doubt(visitor)
  return wrongPassword(user)
}

/** A rule that rejects, rejects here too; whatever method another one names, a password is asked for. */
function refusedByRules(house: CheckingHouse, user: string, address: string): AuthFailure | null {
  const loopback = isLoopback(address)
  // Nobody listens to what does not leave the machine.
  const peer = { kind: 'tcp', address, port: 0, encrypted: loopback, loopback } as const
  const aliases = aliasesOf(DATABASE)
  const gate = house.judge({ user, database: DATABASE, aliases, isPhysicalReplication: false, peer })
  return 'sqlstate' in gate ? gate : null
}
