// Where the secrets of users come from, by the configuration that counts: itself, a question to Postgres, or
// the program that embeds pgmux. It makes whoever asks Postgres, and says where that goes; it keeps no
// secret.
import { isDeepStrictEqual } from 'node:util'
import type { ClientAuthContext } from '../auth/client-auth.ts'
import type { AuthQueryConfig, Config } from '../config/types.ts'
import type { LimitedLog } from '../observe/log-limit.ts'
import { AuthQuery, type AuthQueryParts } from './auth-query.ts'
import { routeOf } from './route-of.ts'
import type { Router } from './router.ts'
import type { SecretSources, SecretsElsewhere } from './secret-keeper.ts'

/** What it is made with. */
export interface AuthQueryHouse {
  readonly machinery: Pick<AuthQueryParts, 'clock' | 'random' | 'time' | 'work'>
  readonly auth: ClientAuthContext
  readonly router: Router
  readonly log: LimitedLog
  /** What counts at present. */
  config(): Config
}

export class SecretOrigins {
  readonly #house: AuthQueryHouse
  readonly #elsewhere: SecretsElsewhere | null
  #authQuery: AuthQuery | null = null

  /** @param elsewhere who is asked in place of Postgres, whatever the configuration says */
  constructor(house: AuthQueryHouse, elsewhere: SecretsElsewhere | null) {
    this.#house = house
    this.#elsewhere = elsewhere
  }

  /** @param before the configuration until now: whoever asks Postgres goes on if nothing of it has changed */
  sources(before: Config | null = null): SecretSources {
    const { users, client } = this.#house.config()
    if (this.#elsewhere !== null) return { users, authQuery: this.#elsewhere }
    const isSame = before !== null && isDeepStrictEqual(before.client.authQuery, client.authQuery)
    if (!isSame) this.#authQuery = authQueryOf(client.authQuery, this.#house)
    return { users, authQuery: this.#authQuery }
  }
}

/** @returns null: nobody is asked */
function authQueryOf(config: AuthQueryConfig, house: AuthQueryHouse): AuthQuery | null {
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
