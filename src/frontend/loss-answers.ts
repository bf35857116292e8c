// What a client whose connection lives on reads when its server is lost. Writes, and owns nothing.
import type { ServerLoss } from '../pool/lease.ts'
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
