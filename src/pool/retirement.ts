// Why a free server is closed instead of kept. It decides nothing else and owns nothing.
import type { Limits } from './limits.ts'
import type { Pool } from './pool.ts'
import type { PooledServer } from './types.ts'

/** Why a server that has just become free, or waits, is not granted again; null: it is. */
export function reasonToRetire<S extends PooledServer>(
  pool: Pool<S>,
  server: S,
  shared: Limits,
): string | null {
  if (server.isRetired) return 'retired'
  if (pool.isPaused) return 'paused'
  const { limits } = pool
  const lifetime = limits.serverLifetimeMs
  if (lifetime > 0 && server.idleSince - server.openedAt > lifetime) return 'server_lifetime'
  if (pool.size > limits.size + limits.reserveSize) return 'the pool has become smaller'
  if (shared.isShrinking && shared.isOver(pool)) return 'a limit over pools has become smaller'
  return null
}

/** The same for one that is free for a while. */
export function reasonIdle<S extends PooledServer>(pool: Pool<S>, server: S, now: number): string | null {
  const { serverIdleTimeoutMs, serverLifetimeMs, minSize } = pool.limits
  if (serverIdleTimeoutMs > 0 && now - server.idleSince > serverIdleTimeoutMs && pool.size > minSize)
    return 'server_idle_timeout'
  return serverLifetimeMs > 0 && now - server.openedAt > serverLifetimeMs ? 'server_lifetime' : null
}

/** An idle server that was used, and has been free for so long without being looked at; null: none. */
export function unseenFor<S extends PooledServer>(ms: number, idle: readonly S[], now: number): S | null {
  if (ms === 0) return null
  for (const server of idle) {
    if (!server.isUnseen || now - server.idleSince < ms) continue
    server.isUnseen = false
    return server
  }
  return null
}
