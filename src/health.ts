// How the process is at this moment: counted anew from the lists, whenever somebody asks. It owns nothing.
import type { House } from './house.ts'
import type { Gauges } from './observe/metrics.ts'
import type { Router } from './routing/router.ts'

/** Clients and servers by state. */
export function gaugesOf(house: House, router: Router): Gauges {
  const servers = { opening: 0, idle: 0, testing: 0, active: 0 }
  let waiting = 0
  const pinned = { clients: 0, reasons: new Map<string, number>() }
  for (const { pool, own, pins } of router.entries()) {
    servers.opening += pool.opening.size
    servers.idle += pool.idle.length
    servers.testing += pool.testing.size
    servers.active += pool.active.size + own.size
    waiting += pool.waiting.clients
    pinned.clients += pins.held.size
    for (const held of pins.held)
      for (const { reason } of held.all()) pinned.reasons.set(reason, (pinned.reasons.get(reason) ?? 0) + 1)
  }
  const clients = { login: house.visitors.size, idle: 0, active: 0, waiting: 0 }
  for (const client of house.clients) {
    if (client.server !== null) clients.active++
    else if (client.isWaiting) clients.waiting++
    else clients.idle++
  }
  const listening = router.hubs?.gauges()
  return { clients, servers, waiting, pinned, ...(listening && { listening }) }
}

/** Could a client get a server now? */
export function readiness(house: House, router: Router, isOpen: boolean): { ok: boolean; reason: string } {
  const isEnding = house.isDraining || house.isEndNear || !isOpen
  if (isEnding) return { ok: false, reason: 'the pooler is shutting down' }
  if (house.isShortOfMemory) return { ok: false, reason: 'memory is nearly used up' }
  let failure = ''
  for (const { pool } of router.entries()) {
    if (pool.idle.length + pool.active.size > 0) return { ok: true, reason: '' }
    if (pool.lastFailure !== null) failure = pool.lastFailure.refusal.message
  }
  return failure === '' ? { ok: true, reason: '' } : { ok: false, reason: failure }
}

/** Resolves when no server works for a client that has gone; looks again and again. */
export function untilQuiet(router: Router, everyMs: number): Promise<void> {
  return new Promise((resolve) => {
    const look = setInterval(() => {
      for (const entry of router.entries()) if (entry.pool.active.size > 0) return
      clearInterval(look)
      resolve()
    }, everyMs)
  })
}
