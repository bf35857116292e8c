// The servers of a worker that is gone: the kernel has closed their connections, which Postgres sees at once
// where it is idle, and otherwise when its statement is over. Here what still runs is cancelled. It owns the
// cancel requests; it cannot know that Postgres obeys.
import { CancelConnection } from '../backend/cancel.ts'
import type { Config } from '../config/types.ts'
import type { KnownServer } from '../membership.ts'
import { routeOf } from '../routing/route-of.ts'
import { Router } from '../routing/router.ts'

/** A request that has arrived may take Postgres a moment to carry out. */
const SETTLED_MS = 200
/** Where `pool.cancel_timeout` sets no limit. */
const CANCEL_MS = 10_000

/** Resolves when all was done that can be done. */
export async function cancelLeftBehind(servers: readonly KnownServer[], config: Config): Promise<void> {
  const router = new Router(config, {
    makePool: () => {
      throw new Error('nobody is served here')
    },
  })
  await Promise.all(servers.map((server) => cancel(server, router, config)))
  await new Promise((resolve) => setTimeout(resolve, SETTLED_MS))
}

function cancel({ database, user, target }: KnownServer, router: Router, config: Config): Promise<void> {
  const place = router.placeOf(database, user)
  if ('reason' in place || target.key.length === 0) return Promise.resolve()
  const route = routeOf(config, place, 'session')
  return new Promise((resolve) => {
    const { pid, isEncrypted } = target
    const key = Buffer.from(target.key)
    const request = new CancelConnection(route, { pid, key, isEncrypted }, () => {
      clearTimeout(limit)
      resolve()
    })
    const limit = setTimeout(() => request.giveUp(), Math.min(route.cancelTimeoutMs || CANCEL_MS, CANCEL_MS))
  })
}
