// How a pool is wired up under a configuration: its route, its limits, and what tells one route from another.
// It makes these; it owns nothing.
import { createHash } from 'node:crypto'
import type { Route } from '../backend/route.ts'
import type { Config } from '../config/types.ts'
import { readFileNow } from '../util/read-file.ts'
import type { Wiring } from './pool-entry.ts'
import { clientLimitsOf, pinPolicyOf, poolLimitsOf } from './precedence.ts'
import type { Place } from './router.ts'

/** Whose pool it is, and where its servers are to be. */
export interface PoolPlace {
  readonly database: string
  readonly user: string
  readonly place: Place
  readonly route: Route
}

/** The wiring of a pool. */
export function wiringOf(config: Config, { database, user, place, route }: PoolPlace): Wiring {
  return {
    route,
    identity: identityOf(place, config.session.customNames),
    scope: scopeOf(place),
    limits: poolLimitsOf(config, database, user),
    clientLimits: clientLimitsOf(config, user),
    preparedMemory: config.pool.preparedMemory,
    sharing: config.pool.sharing,
    pins: pinPolicyOf(config, database, user),
  }
}

/**
 * Whatever a server has relied on when it logged in. Our own certificate is not part of it: a renewed one is
 * for new connections, and a connection that was let in stays in; authorities that are not trusted any more
 * are another matter.
 */
function identityOf(place: Place, customNames: string): string {
  const { connectTimeoutMs: _, keepaliveMs: __, ...loggedInWith } = place
  // Which names were used on a server that is there is not known.
  return JSON.stringify([loggedInWith, digestOf(place.tls.caFile), customNames])
}

function scopeOf({ host, port, dbname, tls, channelBinding }: Place): string {
  return JSON.stringify([host, port, dbname, tls, channelBinding])
}

function digestOf(file: string): string {
  if (file === '') return ''
  try {
    return createHash('sha256').update(readFileNow(file)).digest('hex')
  } catch {
    // Whoever needs it says so. Without it, what is trusted is unknown.
    return 'unreadable'
  }
}
