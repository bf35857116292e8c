// Owns: files and settings of a test's own Postgres that need its account: pg_hba.conf, certificates. Works
// through SQL, as the superuser. Must never touch a server that the test did not start.
import { readFileSync } from 'node:fs'
import type { TestPostgres } from './postgres.ts'
import { until } from './waits.ts'
import { WireClient } from './wire-client.ts'

const CERTS = new URL('./certs/', import.meta.url)

/** Writes a file of 0600 into the data folder, owned by the account that Postgres runs under. */
export async function writeDataFile(postgres: TestPostgres, name: string, text: string): Promise<void> {
  const [row] = await postgres.admin('show data_directory')
  const path = `${row?.data_directory}/${name}`.replaceAll("'", "''")
  const program = `umask 077; base64 -d > "${path}"`
  await postgres.admin(`copy (select '${Buffer.from(text).toString('base64')}') to program '${program}'`)
}

/**
 * Puts these lines in front of pg_hba.conf's own last rule, which asks everybody for SCRAM.
 * @param trusted a user that the new rules let in without a password: resolves when they do
 */
export async function useHba(
  postgres: TestPostgres,
  lines: readonly string[],
  trusted: string,
): Promise<void> {
  const all = [...lines, 'local all all scram-sha-256', 'host all all 127.0.0.1/32 scram-sha-256']
  await writeDataFile(postgres, 'pg_hba.conf', all.join('\n'))
  await postgres.admin('select pg_reload_conf()')
  const { host, port, database } = postgres
  const isIn = () =>
    WireClient.connect({ host, port, database, user: trusted }).then(
      (client) => client.end().then(() => true),
      () => false,
    )
  await until(isIn, () => 'Postgres does not follow the new pg_hba.conf')
}

/** Has Postgres judge by this pg_hba.conf. A superuser's login must be in it. Resolves when it does. */
export async function replaceHba(postgres: TestPostgres, text: string): Promise<void> {
  const loaded = async () => String((await postgres.admin('select pg_conf_load_time()::text as at'))[0]?.at)
  const before = await loaded()
  await writeDataFile(postgres, 'pg_hba.conf', text)
  await postgres.admin('select pg_reload_conf()')
  await until(
    async () => (await loaded()) !== before,
    () => 'Postgres does not read its files again',
  )
}

/**
 * Turns TLS on, with the certificate of the tests.
 * @param caFile the authority of the certificates that clients may show; without one it is that certificate
 */
export async function useTls(postgres: TestPostgres, caFile = ownFile('localhost.crt')): Promise<void> {
  await writeDataFile(postgres, 'server.crt', readFileSync(new URL('localhost.crt', CERTS), 'utf8'))
  await writeDataFile(postgres, 'server.key', readFileSync(new URL('localhost.key', CERTS), 'utf8'))
  await writeDataFile(postgres, 'root.crt', readFileSync(caFile, 'utf8'))
  await postgres.admin("alter system set ssl_ca_file = 'root.crt'")
  await postgres.admin('alter system set ssl = on')
  await postgres.admin('select pg_reload_conf()')
  await until(
    async () => (await postgres.admin('show ssl'))[0]?.ssl === 'on',
    () => 'TLS is not on',
  )
}

/** What a Postgres shows and asks for; what is absent is as at its start. */
export interface Door {
  /** Rules in front of the one that lets everybody in with SCRAM. */
  readonly hba?: readonly string[]
  /** Absent: no TLS. */
  readonly certificate?: { readonly certFile: string; readonly keyFile: string }
  /** Authorities for the certificates of clients. */
  readonly caFile?: string
  readonly settings?: Readonly<Record<string, string>>
}

const DOOR_SETTINGS = ['ssl', 'ssl_ca_file', 'ssl_min_protocol_version', 'ssl_max_protocol_version']

/** Makes this the door of a running Postgres, in place of the one before. */
export async function useDoor(postgres: TestPostgres, door: Door): Promise<void> {
  const { hba = [], certificate, caFile, settings = {} } = door
  const text = (file: string) => readFileSync(file, 'utf8')
  await writeDataFile(postgres, 'pg_hba.conf', [...hba, 'host all all 127.0.0.1/32 scram-sha-256'].join('\n'))
  if (certificate !== undefined) {
    await writeDataFile(postgres, 'server.crt', text(certificate.certFile))
    await writeDataFile(postgres, 'server.key', text(certificate.keyFile))
  }
  if (caFile !== undefined) await writeDataFile(postgres, 'clients.crt', text(caFile))
  const wanted: Record<string, string> = {
    ssl: certificate === undefined ? 'off' : 'on',
    ...(caFile === undefined ? {} : { ssl_ca_file: 'clients.crt' }),
    ...settings,
  }
  for (const name of DOOR_SETTINGS) {
    const to = wanted[name]
    await postgres.admin(
      to === undefined ? `alter system reset ${name}` : `alter system set ${name} = '${to}'`,
    )
  }
  const loadedAt = async () => (await postgres.admin('select pg_conf_load_time()::text as t'))[0]?.t
  const before = await loadedAt()
  await postgres.admin('select pg_reload_conf()')
  await until(
    async () => (await loadedAt()) !== before,
    () => 'Postgres does not read its files again',
  )
}

/** Certificate and key of the tests, for a pooler. */
export function testCertificate(): { certFile: string; keyFile: string } {
  return { certFile: ownFile('localhost.crt'), keyFile: ownFile('localhost.key') }
}

function ownFile(name: string): string {
  return new URL(name, CERTS).pathname
}
