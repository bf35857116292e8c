// Owns the account and database that the load uses. Must never be a superuser: while a bench runs, the
// poolers let everybody on this machine in (trust on loopback).
import { randomBytes } from 'node:crypto'
import { Client } from 'pg'
import type { EmbeddedPostgres } from '../src/embedded/embedded.ts'

/** How to log in to the Postgres of a bench. */
export interface Login {
  readonly host: string
  readonly port: number
  readonly user: string
  readonly password: string
  readonly database: string
}

/** From this version on Postgres can be told how expensive the check of a password is. */
const CHEAP_SCRAM_SINCE = 16
const NAME = 'bench'

/** Creates an account without rights and a database that it owns. */
export async function createDatabase(postgres: EmbeddedPostgres): Promise<Login> {
  const { host, port } = postgres
  const password = randomBytes(24).toString('base64url')
  const admin = new Client({ connectionString: postgres.url })
  await admin.connect()
  try {
    // Each client of the load logs in within the time of a run: 64 times 4096 rounds would be much of it.
    if (postgres.major >= CHEAP_SCRAM_SINCE) await admin.query('set scram_iterations = 1')
    await admin.query(`create role ${NAME} login password '${password}'`)
    await admin.query(`create database ${NAME} owner ${NAME}`)
  } finally {
    await admin.end()
  }
  return { host, port, user: NAME, password, database: NAME }
}
