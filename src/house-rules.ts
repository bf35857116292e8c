// What a configuration says about those who come in and are in. It makes these rules; it applies none.
import { Access } from './auth/access.ts'
import type { ReloadReport } from './reload.ts'
import type { Config } from './config/types.ts'
import { userRemoved } from './frontend/refusals.ts'
import type { HouseRules } from './house.ts'
import { systemClock } from './net/clock.ts'
import { localAddresses } from './net/interfaces.ts'
import { serverTls } from './net/tls-server.ts'
import type { Refusal } from './pool/types.ts'
import { clientTlsOf, partOf } from './routing/precedence.ts'

/** Of this machine, for all configurations. */
const ADDRESSES = localAddresses(systemClock)

/** @throws CertificateError */
export function rulesOf(config: Config): HouseRules {
  const { client, databases, users, workers } = config
  return {
    limits: { ...client, maxUnauthenticated: partOf(client.maxUnauthenticated, workers) },
    databases,
    users,
    logs: config.log,
    access: new Access(client, {
      tlsOfDatabase: (name) => clientTlsOf(config, name),
      localAddresses: ADDRESSES,
    }),
    tls: client.tls.mode === 'disable' ? null : serverTls(client.tls),
  }
}

/**
 * Who has to go after a reload, for a user: those who were taken out of the configuration, where nobody else
 * knows them. Without their secret they could not come in any more.
 */
export function farewellsOf(config: Config, report: ReloadReport): (user: string) => Refusal | null {
  const { auth, authQuery } = config.client
  const isKnownElsewhere = auth === 'trust' || auth === 'cert' || authQuery.user !== ''
  const removed = new Set(isKnownElsewhere ? [] : report.users.removed)
  return (user) => (removed.has(user) ? userRemoved(user) : null)
}
