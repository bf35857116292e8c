// The limits and the way to Postgres that a seed gives to a world. Owns nothing.
import type { Dial, Route } from '../../src/backend/route.ts'
import type { ClientConfig, PoolMode, SharingConfig } from '../../src/config/types.ts'
import type { PoolLimits } from '../../src/pool/types.ts'
import type { Wiring } from '../../src/routing/pool-entry.ts'
import type { Prng } from '../support/prng.ts'

const allow = 'allow'

/** A log that nobody reads. */
export const SILENT = {
  debug() {},
  info() {},
  warn() {},
  error() {},
  enabled: () => false,
  child: () => SILENT,
}

/** What else a pool is told. */
export const BESIDES: Pick<Wiring, 'preparedMemory' | 'pins' | 'scope'> = {
  scope: 'app',
  preparedMemory: 1e6,
  pins: {
    actions: {
      temp: allow,
      advisory_lock: allow,
      cursor: allow,
      backend_state: allow,
      sql_prepare: allow,
      listen: allow,
      custom_setting: allow,
      privileged_setting: allow,
      by_hand: allow,
      large_statement: allow,
    },
    listensVirtually: false,
    maxPinned: 0,
    maxPinTimeMs: 0,
  },
}

/** In two of three worlds reads share servers. */
export function sharingOf(seed: number): SharingConfig {
  const [depth, maxWaitMs] = [
    [16, 20],
    [2, 5],
    [5, 60],
  ][seed % 3]!
  return { isOn: seed % 9 > 2, depth: depth!, maxMs: 10, maxWaitMs: maxWaitMs! }
}

/** Limits of the one pool. */
export function poolLimits(random: Prng, poolSize: number, isChoked: boolean): PoolLimits {
  return {
    size: poolSize,
    minSize: random.pick([0, 0, 1]),
    reserveSize: 0,
    reserveTimeoutMs: 0,
    maxLogins: random.between(1, 3),
    maxWaiting: 0,
    queryWaitTimeoutMs: isChoked ? random.pick([100, 1000]) : 60_000,
    serverLifetimeMs: random.pick([0, 0, 500]),
    serverIdleTimeoutMs: random.pick([0, 300]),
    leakCheckMs: random.pick([0, 50, 500]),
    serverCheckDelayMs: random.pick([0, 0, 100]),
    serverRoundRobin: false,
  }
}

/** Limits of clients: none, or tight ones. */
export function clientLimits(random: Prng, isChoked: boolean): ClientConfig {
  const limit = (ms: number) => (isChoked && random.chance(0.5) ? ms : 0)
  return {
    auth: 'trust',
    hbaFile: [],
    identFile: [],
    certMap: '',
    certName: 'CN',
    authQuery: {
      user: '',
      password: null,
      dbname: '',
      query: '',
      cacheTimeMs: 0,
      timeoutMs: 0,
    },
    tls: { mode: 'disable', certFile: '', keyFile: '', caFile: '', minVersion: 'TLSv1.2' },
    maxConnections: 0,
    maxPerDatabase: 0,
    maxPerUser: 0,
    maxPerAddress: 0,
    memoryLimit: 0,
    maxUnauthenticated: 0,
    loginTimeoutMs: 60_000,
    idleTimeoutMs: 0,
    idleTransactionTimeoutMs: limit(100),
    transactionTimeoutMs: limit(400),
    queryTimeoutMs: limit(150),
    waitNoticeMs: 0,
    addAddress: false,
    writeTimeoutMs: limit(250),
    batchTimeoutMs: isChoked ? 500 : 30_000,
    goneGraceMs: 0,
    notificationBuffer: 0,
    abandonGraceMs: 500,
  }
}

/** The way to the model. */
export function routeTo(dial: Dial, mode: PoolMode, random: Prng): Route {
  return {
    dial,
    where: 'the model',
    dbname: 'app',
    user: 'app',
    credential: () => null,
    onCredentialRefused: () => false,
    tlsMode: 'disable',
    tls: null,
    checksCertificate: false,
    isDirectTls: false,
    channelBinding: 'disable',
    connectTimeoutMs: 30_000,
    cancelTimeoutMs: 1000,
    goneGraceMs: random.pick([0, 200]),
    abandonGraceMs: random.pick([50, 500]),
    mode,
    maxChannels: 0,
    notifyWaitMs: 50,
    maxPreparedStatements: random.pick([1, 2, 4, 100]),
    // Whatever is asked for besides, nobody must notice.
    witness: random.pick(['auto', 'auto', 'always']),
    customNames: 'relaxed',
    sequences: 'error',
    connectQuery: '',
  }
}
