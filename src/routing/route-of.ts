// From a place (host, database, user) to a route: how its servers are opened. It makes things; it owns none.
import { parseSecret } from '../auth/secrets.ts'
import type { Route } from '../backend/route.ts'
import type { Config, PoolMode } from '../config/types.ts'
import { orForever } from '../config/units.ts'
import { dial } from '../net/dial.ts'
import { checksCertificate } from '../net/tls-client.ts'
import type { Place } from './router.ts'
import { settingsFor } from './upstream-tls.ts'

/**
 * The route to a place, in a pool mode. A host that begins with `/` is the folder of a Unix socket.
 * @throws CertificateError: see upstream-tls.ts
 */
export function routeOf(config: Config, place: Place, mode: PoolMode): Route {
  const { host, port, tls } = place
  const path = host.startsWith('/') ? `${host}/.s.PGSQL.${port}` : ''
  const target = path === '' ? { host, port, keepaliveMs: place.keepaliveMs } : { path }
  const tlsSettings = settingsFor(config, host, tls)
  const credential = place.password === null ? null : parseSecret(place.password)
  return {
    dial: (timeoutMs, callback) => dial(target, timeoutMs, callback),
    where: path === '' ? `${host}:${port}` : path,
    dbname: place.dbname,
    user: place.user,
    credential: () => credential,
    onCredentialRefused: () => false,
    tlsMode: tlsSettings === null ? 'disable' : tls.mode,
    tls: tlsSettings,
    checksCertificate: checksCertificate(tls),
    isDirectTls: tls.negotiation === 'direct',
    channelBinding: place.channelBinding,
    connectTimeoutMs: orForever(place.connectTimeoutMs),
    cancelTimeoutMs: orForever(config.pool.cancelTimeoutMs),
    goneGraceMs: config.client.goneGraceMs,
    abandonGraceMs: config.client.abandonGraceMs,
    mode,
    maxPreparedStatements: config.pool.maxPreparedStatements,
    witness: config.session.witness,
    customNames: config.session.customNames,
    sequences: config.session.sequences,
    notifyWaitMs: config.session.notifyWaitMs,
    maxChannels: config.session.listen === 'pin' ? 0 : config.session.maxChannels,
    connectQuery: place.connectQuery,
  }
}
