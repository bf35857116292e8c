// A pooler in this process, in front of a given Postgres, for tests. It owns the pooler and stops it, and
// sees to it that no secret of a configuration ever comes out of it.
import { LearnedKeys } from '../../src/auth/learned-keys.ts'
import { parseSecret, type Secret } from '../../src/auth/secrets.ts'
import type { ServerCredential } from '../../src/auth/server-auth.ts'
import { loadConfig } from '../../src/config/load.ts'
import type { Config } from '../../src/config/types.ts'
import type { Log, LogLevel } from '../../src/observe/log.ts'
import { LogTail } from '../../src/observe/log-tail.ts'
import { safeFields } from '../../src/observe/sanitize.ts'
import { Pooler } from '../../src/pooler.ts'
import { parseHeaders } from '../../src/util/header-list.ts'
import { crumbs } from './chop.ts'
import { assertNoneOut, isName, isSecret, lookThrough } from './known-secrets.ts'
import { TestProxy } from './proxy.ts'
import { OVER_WEB, webPorts } from './web-socket.ts'

/** Everything once more with each byte in a chunk of its own: `npm run test:long`. */
export const CHOPS: boolean = process.env.PGMUX_TEST_CHOP === '1'
/** The reason for notRun() of tests that such a line makes meaningless. */
export const CHOPPED = 'bytes come one by one in this run (PGMUX_TEST_CHOP)'

/** Any part of the configuration, laid over the defaults. */
export type Overrides = { [Section in keyof Config]?: Parts<Config[Section]> }

/** Any part of a plain object; maps and lists are given whole. */
type Parts<T> = T extends ReadonlyMap<unknown, unknown> | readonly unknown[]
  ? T
  : T extends object
    ? { [Key in keyof T]?: Parts<T[Key]> }
    : T

export interface TestPooler {
  readonly host: string
  readonly port: number
  readonly pooler: Pooler
  /** Log lines so far: level, message and fields. */
  readonly lines: LogLine[]
  stop(): Promise<void>
}

export interface LogLine {
  readonly level: string
  readonly message: string
  readonly fields: Readonly<Record<string, unknown>>
}

/** Starts a pooler on a free loopback port in front of `upstream` (a postgres:// URL). */
export async function startPooler(upstream: string, overrides: Overrides = {}): Promise<TestPooler> {
  const chopped = CHOPS ? await chop(upstream) : null
  const { config } = loadConfig({
    env: {},
    flags: {
      upstream: chopped?.url ?? upstream,
      listen: '127.0.0.1:0',
      admin: 'off',
      serverless: OVER_WEB ? '127.0.0.1:0' : 'off',
    },
    terminal: false,
  })
  const lines: LogLine[] = []
  const given = merge(config, overrides)
  keepSecret(given)
  const pooler = new Pooler(given, watched(logTo(lines, {}, new LogTail())))
  const reload = pooler.reload.bind(pooler)
  pooler.reload = (next) => {
    keepSecret(next)
    return reload(next)
  }
  await pooler.start().catch(async (error: Error) => {
    await chopped?.proxy.close()
    throw error
  })
  const { postgres, serverless } = pooler.addresses
  if (serverless !== null) webPorts.set(postgres.port, serverless.port)
  return {
    host: '127.0.0.1',
    port: pooler.addresses.postgres.port,
    pooler,
    lines,
    stop: async () => {
      lookThrough('the metrics', await pooler.metrics())
      await pooler.drain(0)
      await chopped?.proxy.close()
      assertNoneOut()
    },
  }
}

/** A proxy in front of Postgres that passes bytes on one by one, both ways; null where it has no TCP port. */
async function chop(upstream: string): Promise<{ proxy: TestProxy; url: string } | null> {
  const url = new URL(upstream)
  if (url.hostname === '') return null
  const lane = { cut: crumbs }
  const proxy = await TestProxy.listen({
    host: url.hostname,
    port: Number(url.port || 5432),
    shape: { up: lane, down: lane },
  })
  url.hostname = '127.0.0.1'
  url.port = String(proxy.port)
  return { proxy, url: url.href }
}

/** `overrides` laid over `config`. */
export function merge(config: Config, overrides: Overrides): Config {
  return laidOver(config, overrides) as Config
}

function laidOver(below: unknown, above: unknown): unknown {
  if (!isPlain(below) || !isPlain(above)) return above
  const merged: Record<string, unknown> = { ...below }
  for (const [key, value] of Object.entries(above)) merged[key] = laidOver(merged[key], value)
  return merged
}

function isPlain(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && Object.getPrototypeOf(value) === Object.prototype
}

/** A log that collects its lines. */
export function logTo(
  lines: LogLine[],
  common: Readonly<Record<string, unknown>>,
  tail = new LogTail(),
): Log {
  const write = (level: LogLevel) => (fields: Readonly<Record<string, unknown>>, message: string) => {
    const line = { level, message, fields: { ...common, ...fields } }
    lines.push(line)
    tail.add({ at: Date.now(), ...line, fields: safeFields(line.fields) })
  }
  return {
    debug: write('debug'),
    info: write('info'),
    warn: write('warn'),
    error: write('error'),
    child: (fields) => logTo(lines, { ...common, ...fields }, tail),
    enabled: () => true,
    tail,
  }
}

/** The same log, whose lines are looked through for secrets, before anything is made unreadable in them. */
function watched(log: Log): Log {
  const write = (level: 'debug' | 'info' | 'warn' | 'error') => (fields: object, message: string) => {
    lookThrough('the log', { ...fields, message })
    log[level]({ ...fields }, message)
  }
  return {
    debug: write('debug'),
    info: write('info'),
    warn: write('warn'),
    error: write('error'),
    child: (fields) => watched(log.child(fields)),
    enabled: () => true,
    ...(log.tail && { tail: log.tail }),
  }
}

/** Each secret of a configuration is one that must not come out. */
function keepSecret({ upstream, databases, users, client, tracing }: Config): void {
  isSecret('the password for Postgres', upstream.password)
  isSecret('the password of auth_query', client.authQuery.password)
  for (const value of parseHeaders(tracing.headers)?.values() ?? []) isSecret('a header of traces', value)
  for (const database of databases.values()) isSecret('the password of a database', database.password)
  for (const { secret } of users.values()) {
    isSecret('the secret of a user', secret)
    const parsed = secret === null ? null : parseSecret(secret)
    if (parsed !== null) keepKeys(parsed)
  }
  for (const name of [...users.keys(), ...databases.keys(), upstream.user, upstream.shownDbname]) isName(name)
}

function keepKeys(secret: Secret | ServerCredential): void {
  if (secret.kind === 'plain') isSecret('the password of a user', secret.password)
  if (secret.kind === 'md5') isSecret('the md5 hash of a user', secret.hash)
  if (secret.kind === 'keys') isSecret('the client key of a user', secret.clientKey)
  if (secret.kind === 'scram') isSecret('the stored key of a user', secret.storedKey)
  if (secret.kind === 'scram' || secret.kind === 'keys')
    isSecret('the server key of a user', secret.serverKey)
}

// What clients leave with us is secret too.
const learn = LearnedKeys.prototype.learn
LearnedKeys.prototype.learn = function (key, secret, credential) {
  keepKeys(secret)
  keepKeys(credential)
  learn.call(this, key, secret, credential)
}
