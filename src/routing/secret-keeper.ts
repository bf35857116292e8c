// The secrets of users: those of the configuration. It owns what was learned of them; it never prints one.
import type { ScramKeys } from '../auth/scram-keys.ts'
import { parseSecret, type Secret, type SecretAnswer, type SecretStore } from '../auth/secrets.ts'
import type { UserConfig } from '../config/types.ts'

export class SecretKeeper implements SecretStore {
  readonly #configured = new Map<string, SecretAnswer>()

  constructor(users: ReadonlyMap<string, UserConfig>) {
    for (const [name, { secret }] of users)
      this.#configured.set(name, { secret: secret === null ? null : parseSecret(secret) })
  }

  lookup(user: string): SecretAnswer {
    return this.#configured.get(user) ?? { secret: null }
  }

  learn(_user: string, _secret: Secret, _keys: ScramKeys): void {}
}
