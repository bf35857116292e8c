// The servers of single clients of a pool (replication): nobody waits for one or uses it again. It owns them.
import type { Route, ServerOwner, ServerParts } from '../backend/route.ts'
import { Server } from '../backend/server.ts'
import type { OwnServerEvents } from '../frontend/types.ts'
import type { AnyPool, Limits } from '../pool/limits.ts'
import type { Refusal } from '../pool/types.ts'

/** A replication connection does not wait: the server of another may take days to become free. */
const NO_ROOM: Refusal = {
  severity: 'FATAL',
  code: '53300',
  message: 'no place is free for a server of its own, which a replication connection needs',
  hint: 'Raise pool.max_servers, or max_servers of the database or user.',
  reason: 'replication_no_room',
}

/** What they are made of, at this moment. */
export interface OwnServersParts {
  readonly pool: AnyPool
  readonly shared: Limits
  server(): ServerParts
}

export class OwnServers {
  readonly all = new Set<Server>()
  readonly #parts: OwnServersParts

  constructor(parts: OwnServersParts) {
    this.#parts = parts
  }

  /** Opens one with these startup parameters. */
  open(parameters: ReadonlyMap<string, string>, events: OwnServerEvents): { cancel(): void } {
    const { shared, pool } = this.#parts
    const wish = { isWanted: true }
    shared.askOutside(pool, (hasRoom) => {
      if (!hasRoom) {
        if (wish.isWanted) events.onFailed(NO_ROOM)
        return
      }
      shared.countOutside(pool, 1)
      if (wish.isWanted) this.#open(parameters, events, wish)
      else shared.countOutside(pool, -1)
    })
    return {
      cancel: () => {
        wish.isWanted = false
      },
    }
  }

  #open(
    parameters: ReadonlyMap<string, string>,
    events: OwnServerEvents,
    wish: { readonly isWanted: boolean },
  ): void {
    const { shared, pool } = this.#parts
    const finish = (server: Server): void => {
      if (this.all.delete(server)) shared.countOutside(pool, -1)
    }
    const owner: ServerOwner = {
      onOpened: (server) => {
        if (!wish.isWanted || server.settings === null) server.close('not wanted any more')
        else {
          server.state = 'active'
          events.onReady(server, { parameters: server.parameters, settings: server.settings })
        }
      },
      onOpenFailed: (server, failure) => {
        finish(server)
        if (wish.isWanted) events.onFailed(failure.refusal)
      },
      onTested: () => {},
      onLeak: () => {},
      onReleased: (server) => server.close('its client has gone'),
      onClosed: finish,
      onGone: () => {},
      onFact: () => {},
      onDefault: () => {},
    }
    const parts = this.#parts.server()
    const route: Route = { ...parts.route, mode: 'session' }
    this.all.add(new Server({ ...parts, route, owner }, '', parameters))
  }
}
