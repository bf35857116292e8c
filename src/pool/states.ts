// The states of a server connection and the only function that changes one. A missing entry in the table is a
// bug in the caller: it throws, so that a broken list is seen where it breaks.
//
//   opening -> idle -> active -> idle ...      testing: idle for long, being asked whether it lives
//      \-> closed  <-  any
import type { PooledServer, ServerState } from './types.ts'

/** From each state, where a server may go. */
export const SERVER_MOVES: Readonly<Record<ServerState, readonly ServerState[]>> = {
  opening: ['idle', 'closed'],
  idle: ['active', 'testing', 'closed'],
  testing: ['idle', 'closed'],
  active: ['idle', 'closed'],
  closed: [],
}

/** Changes the state of a server. @throws when there is no such move. */
export function move(server: PooledServer, to: ServerState): void {
  const from = server.state
  // The two of every lease, without a look into the table.
  const isUsual = (from === 'idle' && to === 'active') || (from === 'active' && to === 'idle')
  if (!isUsual && !SERVER_MOVES[from].includes(to))
    throw new Error(`a server cannot go from ${from} to ${to}`)
  server.state = to
}
