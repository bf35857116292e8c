// A lane that waits in the queue of its pool for its server, as clients do. It owns its place there, and
// never decides whether there should be one.
import type { LeasedServer } from '../pool/lease.ts'
import type { Refusal, Waiter } from '../pool/types.ts'
import type { Settings } from '../session/settings.ts'
import type { Lane } from './lane.ts'
import type { Server } from './server.ts'

export class LaneWaiter implements Waiter<LeasedServer> {
  readonly isOurs = true
  readonly isUrgent: boolean
  readonly baseline: string
  readonly wantedSettings: Settings
  lastServer: LeasedServer | null = null
  waitingSince = 0
  waitDeadline = 0
  passedOver = 0
  readonly #lane: Lane
  readonly #then: (isGranted: boolean) => void

  /** @param isUrgent nobody can share until it has a server */
  constructor(
    lane: Lane,
    { baseline, isUrgent }: { baseline: string; isUrgent: boolean },
    then: (isGranted: boolean) => void,
  ) {
    this.#lane = lane
    this.baseline = baseline
    this.isUrgent = isUrgent
    this.wantedSettings = lane.session.settings
    this.#then = then
  }

  onGrant(server: LeasedServer): void {
    this.#then(true)
    this.#lane.begin(server as Server)
  }

  onRefuse(_refusal: Refusal): void {
    this.#then(false)
  }

  /** It does not wait any more. */
  onLeave(): void {
    this.#then(false)
  }
}
