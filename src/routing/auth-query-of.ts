// Makes the AuthQuery of a configuration: where its question goes, and what is said when no answer comes. It
// makes things; it owns none.
import type { ClientAuthContext } from '../auth/client-auth.ts'
import type { AuthQueryConfig, Config } from '../config/types.ts'
import type { LimitedLog } from '../observe/log-limit.ts'
import { AuthQuery, type AuthQueryParts } from './auth-query.ts'
import { routeOf } from './route-of.ts'
import type { Router } from './router.ts'

/** What it is made with. */
export interface AuthQueryHouse {
  readonly machinery: Pick<AuthQueryParts, 'clock' | 'random' | 'time' | 'work'>
  readonly auth: ClientAuthContext
  readonly router: Router
  readonly log: LimitedLog
  /** What counts at present. */
  config(): Config
}

/** @returns null: nobody is asked */
export function authQueryOf(config: AuthQueryConfig, house: AuthQueryHouse): AuthQuery | null {
  if (config.user === '') return null
  return new AuthQuery(config, {
    ...house.machinery,
    warm: (user, password) => house.auth.warm(user, { kind: 'plain', password }),
    placeOf: (database) => {
      const place = house.router.placeOf(database, config.user)
      return 'reason' in place ? null : place
    },
    routeOf: (place) => routeOf(house.config(), place, 'session'),
    report: ({ user, database }, error) =>
      house.log.write('warn', 'auth_query', {
        fields: { user, database, error },
        message: 'client.auth_query gave no usable answer',
      }),
  })
}
