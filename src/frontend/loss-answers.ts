// What a client reads when its server is lost, or how it ends. Writes, and owns nothing.
import type { Departure, ServerLoss } from '../pool/lease.ts'
import type { Refusal } from '../pool/types.ts'
import type { ByteStream } from '../wire/byte-stream.ts'
import { errorResponse, withSeverity } from '../wire/error-response.ts'
import { READY_IDLE } from '../wire/messages.ts'

/**
 * Each exchange in flight ends with the error and its ReadyForQuery; a batch without its Sync gets the error
 * now, and its ReadyForQuery from the caller when the Sync comes.
 */
export function answerLoss(stream: ByteStream, loss: ServerLoss): void {
  const { refusal, lastWords } = loss
  const error =
    lastWords === null ? errorResponse({ ...refusal, severity: 'ERROR' }) : withSeverity(lastWords, 'ERROR')
  for (let exchange = 0; exchange < loss.exchanges; exchange++) {
    stream.write(error)
    stream.write(READY_IDLE)
  }
  if (loss.isBatchOpen && !loss.isFailedBatch) stream.write(error)
}

/** A client that may have to end. */
interface Bereaved {
  readonly stream: ByteStream
  readonly hasOwnServer: boolean
  fatal(refusal: Refusal, bytes: Buffer | null): void
  leave(how: Departure, reason: string): void
}

/** Ends the connection of a client that cannot go on. @returns whether it did */
export function endsOverLoss(
  client: Bereaved,
  { refusal, lastWords, isMidMessage, isFatal }: ServerLoss,
): boolean {
  if (isMidMessage) {
    client.leave('lost', 'the server was lost in the middle of an answer')
    client.stream.destroy('the server was lost in the middle of an answer')
  } else if (isFatal || client.hasOwnServer) client.fatal({ ...refusal, severity: 'FATAL' }, lastWords)
  else return false
  return true
}
