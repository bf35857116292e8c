// `pgmux check`: is the configuration right, and with --connect: does Postgres let us in, and are the pools
// no larger than it allows? It changes nothing. A pool that is larger is a warning, no failure.
import { PasswordWork } from '../auth/password-work.ts'
import { loadConfig } from '../config/load.ts'
import type { Config } from '../config/types.ts'
import { readPair } from '../net/tls-files.ts'
import { serverTls } from '../net/tls-server.ts'
import { poolLimitsOf } from '../routing/precedence.ts'
import { readUpstreamTls } from '../routing/upstream-tls.ts'
import { keysOfFile } from '../serverless/jwks.ts'
import { probe, type ProbeResult } from './probe.ts'
import type { Arguments } from './arguments.ts'

/** @returns the exit code: 0 all is well, 1 something is not. */
export async function check(given: Arguments): Promise<number> {
  const { config, file, warnings } = loadConfig({ flags: given.flags })
  for (const warning of warnings) process.stdout.write(`warning: ${warning}\n`)
  if (config.client.tls.mode !== 'disable') serverTls(config.client.tls)
  checkServerless(config)
  readUpstreamTls(config)
  process.stdout.write(`${file ?? 'the configuration'} is valid\n`)
  if (!given.connect) return 0
  const targets = targetsOf(config)
  if (targets.length === 0) {
    process.stdout.write('no upstream is configured: pgmux would start a Postgres of its own\n')
    return 0
  }
  const work = new PasswordWork()
  let isWell = true
  for (const { database, user } of targets) {
    const result = await probe(config, { database, user }, work)
    process.stdout.write(`${describe(database, user, result, config)}\n`)
    if (!result.ok) isWell = false
  }
  return isWell ? 0 : 1
}

/** The files of the endpoint, as its start would read them. @throws one sentence */
function checkServerless({ serverless: { tls, jwt } }: Config): void {
  if (tls.certFile !== '') readPair(tls.certFile, tls.keyFile)
  if (jwt.jwksFile !== '') keysOfFile(jwt.jwksFile)
}

/** One login for each database, as the user that it would have. */
function targetsOf(config: Config): { database: string; user: string }[] {
  const user = config.upstream.user || [...config.users.keys()][0] || ''
  const named = [...config.databases.keys()].filter((name) => name !== '*')
  if (named.length > 0)
    return named.map((database) => ({ database, user: config.databases.get(database)?.user || user }))
  if (config.upstream.host === '') return []
  return [{ database: config.upstream.shownDbname || config.upstream.dbname || 'postgres', user }]
}

function describe(database: string, user: string, result: ProbeResult, config: Config): string {
  const where = `database "${database}" as "${user}"`
  if (!result.ok) return `${where}: ${result.problem}`
  const { size, reserveSize } = poolLimitsOf(config, database, user)
  const most = size + reserveSize
  const free = result.maxConnections - result.reserved
  const found = `${where}: connected, Postgres ${result.version}, ${free} connections for clients`
  if (most <= free) return `${found}, a pool of ${most} fits`
  // pgmux works with fewer servers than it may open: nothing is wrong, until all of them are wanted.
  const advice = 'lower pool.size (and pool.reserve_size) or raise max_connections'
  return `${found}\nwarning: ${where}: a pool of ${most} is more than these ${free} connections: ${advice}`
}
