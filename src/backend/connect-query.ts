// The statements that the configuration wants on each server: after its login, and after a reset has undone
// them. A failure is logged, and the server is used all the same.
import { parseErrorResponse } from '../wire/error-response.ts'
import { Status } from '../wire/protocol.ts'
import { internalExchange, writeQuery } from './internal.ts'
import type { Output } from './output.ts'
import type { ServerParts } from './route.ts'
import type { Talk } from './talk.ts'

/** What is needed of a server. */
interface Target {
  readonly parts: ServerParts
  readonly talk: Talk
  readonly out: Output
}

/** Sends them, and rolls back what they leave open. @param then both are answered, or there are none */
export function writeConnectQuery({ parts, talk, out }: Target, then: () => void): void {
  const { connectQuery } = parts.route
  if (connectQuery === '') {
    then()
    return
  }
  const onDone = (status: number, error: Buffer | null): void => {
    if (error !== null) {
      const { code, message } = parseErrorResponse(error, 0, error.length)
      parts.warn(`connect_query failed: ${code} ${message}`)
    }
    if (status === Status.Idle) {
      then()
      return
    }
    writeQuery(talk, out, 'ROLLBACK', internalExchange('rollback', false, then))
    out.flush()
  }
  const exchange = internalExchange('connect_query', false, (status, { error }) => onDone(status, error))
  writeQuery(talk, out, connectQuery, exchange)
  out.flush()
}
