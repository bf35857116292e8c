// What a pooler is given that is one of several behind the same ports: the way to the others. Types only; a
// pooler that does all the work has none.
import type { ConsoleFellows, ShutdownMode } from './admin/console/types.ts'
import type { Fellows } from './frontend/fellows.ts'
import type { CancelTarget } from './backend/cancels.ts'
import type { Limits, SharedLimits } from './pool/limits.ts'

/** A server for whose place somebody must see to when this process is gone. */
export interface KnownServer {
  readonly database: string
  readonly user: string
  readonly target: CancelTarget
}

export interface Membership {
  readonly fellows: Fellows
  readonly console: ConsoleFellows
  /** Limits on servers, of which this process has its part. */
  limits(shared: SharedLimits): Limits
  /** All read the configuration again. @throws with the reason; then nothing has changed */
  reload(): Promise<void>
  /** The same with options over it. */
  set(options: readonly (readonly [option: string, text: string | null])[]): Promise<void>
  /** All end. */
  shutdown(mode: ShutdownMode): void
  onServerOpened(server: KnownServer): void
  onServerClosed(pid: number): void
  /** A statement with this text is about databases: the others close servers that nobody uses there. */
  vacate(text: string): void
}
