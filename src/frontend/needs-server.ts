// Which messages a client without a server can be answered without one. A fact of the protocol, no state.
import { FromClient } from '../wire/protocol.ts'

/** Without a server there is no COPY and no open batch: Postgres ignores the first, answers Sync at once. */
export function needsServer(type: number): boolean {
  switch (type) {
    case FromClient.Sync:
    case FromClient.Flush:
    case FromClient.CopyData:
    case FromClient.CopyDone:
    case FromClient.CopyFail:
      return false
    default:
      return true
  }
}
