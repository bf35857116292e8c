// What others are told of a pooler: lines of the log, troubles and leaks of a pool's servers; and the seam
// for a program that embeds it. It owns nothing.
import type { Server } from './backend/server.ts'
import type { Membership } from './membership.ts'
import { setHandlerErrorReporter } from './net/handler-errors.ts'
import type { Counters } from './observe/counters.ts'
import type { Log } from './observe/log.ts'
import type { Troubles } from './observe/troubles.ts'
import type { OpenFailure } from './pool/types.ts'

import type { Reroute } from './frontend/types.ts'
import type { Watcher } from './observe/watcher.ts'
import type { SecretsElsewhere } from './routing/secret-keeper.ts'
import type { StatementTeller } from './session/session-watch.ts'

/** What a program decides that embeds the pooler, and who is told what happens. */
export interface Hooked {
  readonly watcher: Watcher | null
  readonly secrets: SecretsElsewhere | null
  readonly reroute: Reroute | null
  readonly onStatement: StatementTeller | null
}

/** Who is told. */
interface Told {
  readonly log: Log
  readonly troubles: Troubles
  readonly counters: Counters
  /** Of one of several processes: the first sees to what is left when this one is gone. */
  readonly membership: Membership | null
}

/** The part of a pool's parts that only tells. */
export function serverEvents(
  { database, user }: { database: string; user: string },
  { log, troubles, counters, membership }: Told,
) {
  return {
    onServerOpened: ({ pid, cancels: { target } }: Server): void => {
      log.debug({ pid }, 'server opened')
      if (target !== null) membership?.onServerOpened({ database, user, target })
    },
    onServerFailed: (_server: Server, { refusal }: OpenFailure): void => {
      const telling = { counters, message: 'login to Postgres failed', level: 'warn' } as const
      troubles.report(refusal, { database, user, address: '' }, telling)
    },
    onLeak: ({ pid, talk: { touchedBy: after } }: Server, what: string): void => {
      troubles.addLeak({ database, user, pid, what, after })
      log.error({ pid, what, after }, 'a session leaked')
    },
    onServerClosed: ({ pid }: Server, reason: string): void => {
      log.debug({ pid, reason }, 'server closed')
      membership?.onServerClosed(pid)
    },
  }
}

/** What goes wrong in a handler of ours, wherever it is. */
export function tellInternalErrors({ log, counters, troubles }: Omit<Told, 'membership'>): void {
  setHandlerErrorReporter((error, where) => {
    counters.errors.add(['XX000', 'internal_error'])
    troubles.add({ code: 'XX000', reason: 'internal_error', message: `${where}: ${error.message}` })
    log.error({ where, error: error.stack ?? error.message }, 'internal error: one connection was closed')
  })
}
