// Owns: logging in through a pooler and telling in a word how it ended. Must never hide an error that is no
// refusal of the server.
import assert from 'node:assert/strict'
import type { TestPooler } from './pooler.ts'
import { type ClientOptions, LoginError, WireClient } from './wire-client.ts'

/** `ok: <session_user>` after a query, or the SQLSTATE of the refusal. */
export async function login(pooler: TestPooler, user: string, options: ClientOptions = {}): Promise<string> {
  const client = await attempt(pooler, user, options)
  if (client instanceof LoginError) return client.code
  const { rows, error } = await client.query('select session_user')
  assert.equal(error, null)
  await client.end()
  return `ok: ${rows[0]?.[0]}`
}

/** A client that is in, or the refusal. */
export async function attempt(
  { host, port }: TestPooler,
  user: string,
  options: ClientOptions = {},
): Promise<WireClient | LoginError> {
  try {
    return await WireClient.connect({ host, port, user, database: 'postgres', ...options })
  } catch (error) {
    if (error instanceof LoginError) return error
    throw error
  }
}

/** The refusal. @throws where the login succeeds */
export async function refusal(
  pooler: TestPooler,
  user: string,
  options: ClientOptions = {},
): Promise<LoginError> {
  const error = await attempt(pooler, user, options)
  assert.ok(error instanceof LoginError, `${user} logged in`)
  return error
}
