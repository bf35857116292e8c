// What others are told of a pooler: lines of the log, troubles and leaks of a pool's servers; and the seam
// for a program that embeds it. It owns nothing.
import type { Server } from './backend/server.ts'
import type { Counters } from './observe/counters.ts'
import type { Log } from './observe/log.ts'
import type { Troubles } from './observe/troubles.ts'
import type { OpenFailure } from './pool/types.ts'

import type { Reroute } from './frontend/types.ts'
import type { Watcher } from './observe/watcher.ts'
import type { Insights } from './routing/insights.ts'
import type { SecretsElsewhere } from './routing/secret-keeper.ts'

/** What a program decides that embeds the pooler, and who is told what happens. */
export interface Hooked {
  readonly watcher: Watcher | null
  readonly secrets: SecretsElsewhere | null
  readonly reroute: Reroute | null
  readonly ran: Insights['ran']
}

/** The part of a pool's parts that only tells. */
export function serverEvents(
  { database, user }: { database: string; user: string },
  { log, troubles, counters }: { log: Log; troubles: Troubles; counters: Counters },
) {
  return {
    onServerOpened: (server: Server): void => log.debug({ pid: server.pid }, 'server opened'),
    onServerFailed: (_server: Server, { refusal }: OpenFailure): void => {
      const telling = { counters, message: 'login to Postgres failed', level: 'warn' } as const
      troubles.report(refusal, { database, user, address: '' }, telling)
    },
    onLeak: ({ pid, talk: { touchedBy: after } }: Server, what: string): void => {
      troubles.addLeak({ database, user, pid, what, after })
      log.error({ pid, what, after }, 'a session leaked')
    },
    onServerClosed: (server: Server, reason: string): void =>
      log.debug({ pid: server.pid, reason }, 'server closed'),
  }
}
