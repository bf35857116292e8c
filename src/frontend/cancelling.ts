// A cancel request for a client: what it waits for, or what works for it, is told. It owns nothing.
import type { LeasedServer } from '../pool/lease.ts'
import type { SharedWork } from '../pool/sharing.ts'
import type { Refusal } from '../pool/types.ts'
import { cancelled } from './refusals.ts'

/** The client. */
interface Cancellable {
  readonly isWaiting: boolean
  readonly server: LeasedServer | null
  readonly shared: SharedWork | null
  onRefuse(refusal: Refusal): void
}

/** `onOver`: the request can hit nothing any more. Who waits has left the queue by then. */
export function cancelWork(client: Cancellable, onOver: () => void): void {
  if (client.isWaiting) {
    client.onRefuse(cancelled())
    onOver()
    return
  }
  const work = client.server ?? client.shared
  if (work === null) onOver()
  else work.cancel(onOver)
}
