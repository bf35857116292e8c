// The times of one client: since when it is silent, blocked, idle; and which limit is over. It owns these
// times and says what is due; the client acts. It starts no timer.
import type { ClientConfig } from '../config/types.ts'
import type { Departure, LeasedServer, TalkView } from '../pool/lease.ts'
import type { SharedWork } from '../pool/sharing.ts'
import type { Refusal } from '../pool/types.ts'
import type { ByteStream } from '../wire/byte-stream.ts'
import { noticeResponse } from '../wire/error-response.ts'
import { timedOut } from './refusals.ts'

/** What is due, in the words of the options. */
export type Due = 'batch' | 'transaction' | 'idle transaction' | 'idle' | 'cancel' | 'query' | null

/** A client in the queue of its pool. */
interface Waiting {
  readonly waitingSince: number
  readonly stream: ByteStream
}

const WAIT_NOTICE = noticeResponse({
  severity: 'NOTICE',
  code: '00000',
  message: 'all servers of the pool are in use: the query waits for one',
})

export class Watch {
  /** When it had logged in. */
  readonly connectedAt: number
  /** Since when the client has asked for nothing. */
  idleSince: number
  /** When it last sent anything. */
  lastDataAt: number
  /** Since when it does not take its answers; 0: it does. */
  blockedSince = 0
  #isCancelSent = false
  /** The wait, by its beginning, of which the client was told. */
  #remindedOf = 0
  readonly #cancelTimeoutMs: number

  /** @param cancelTimeoutMs how long a query that is over its time may take to be cancelled */
  constructor(now: number, cancelTimeoutMs: number) {
    this.#cancelTimeoutMs = cancelTimeoutMs
    this.connectedAt = this.idleSince = this.lastDataAt = now
  }

  /** A server works for the client from now on. */
  leased(): void {
    this.#isCancelSent = false
  }

  /** For a client without a server that does not wait for one. */
  dueIdle(now: number, limits: ClientConfig): Due {
    return isOver(this.idleSince, limits.idleTimeoutMs, now) ? 'idle' : null
  }

  /** Tells a client that has waited long for a server that it does; once for each wait. */
  remind(client: Waiting, now: number, limits: ClientConfig): void {
    const { waitingSince, stream } = client
    if (this.#remindedOf === waitingSince || !isOver(waitingSince, limits.waitNoticeMs, now)) return
    this.#remindedOf = waitingSince
    stream.write(WAIT_NOTICE)
  }

  /** Whether it refuses its answer for too long. */
  dueBlocked(now: number, limits: ClientConfig): boolean {
    return isOver(this.blockedSince, limits.writeTimeoutMs, now)
  }

  /** For a client that has a server. `isOwn`: one that works for nobody else (replication). */
  dueLeased(now: number, limits: ClientConfig, talk: TalkView, isOwn: boolean): Due {
    if (talk.isClientsTurn && isOver(this.lastDataAt, limits.batchTimeoutMs, now)) return 'batch'
    if (talk.isInTransaction && isOver(talk.transactionSince, limits.transactionTimeoutMs, now))
      return 'transaction'
    if (talk.isBusy) return isOwn ? null : this.#dueBusy(now, limits.queryTimeoutMs, talk)
    if (talk.isInTransaction) {
      return isOver(talk.idleSince, limits.idleTransactionTimeoutMs, now) ? 'idle transaction' : null
    }
    return !isOwn && isOver(talk.idleSince, limits.idleTimeoutMs, now) ? 'idle' : null
  }

  /** Sees that an exchange that runs beside those of others ends in time. */
  endShared(work: SharedWork, now: number, { queryTimeoutMs }: ClientConfig): void {
    if (!isOver(work.since, queryTimeoutMs, now)) {
      this.#isCancelSent = false
    } else if (!this.#isCancelSent) {
      this.#isCancelSent = true
      work.cancel(() => {})
    } else if (isOver(work.since, queryTimeoutMs + this.#cancelTimeoutMs, now)) work.giveUp()
  }

  #dueBusy(now: number, limitMs: number, talk: TalkView): Due {
    if (!isOver(talk.busySince, limitMs, now)) {
      this.#isCancelSent = false
      return null
    }
    if (!this.#isCancelSent) {
      this.#isCancelSent = true
      return 'cancel'
    }
    return isOver(talk.busySince, limitMs + this.#cancelTimeoutMs, now) ? 'query' : null
  }
}

/** Nothing runs for the client, and it is in no transaction. */
export function isBetween(server: LeasedServer | null): boolean {
  return server === null || (!server.talk.isBusy && !server.talk.isInTransaction)
}

/** A client, as its times see it. */
interface Timed extends Waiting {
  readonly access: { readonly clientLimits: ClientConfig }
  readonly watch: Watch
  readonly server: LeasedServer | null
  readonly shared: SharedWork | null
  readonly hasOwnServer: boolean
  readonly isWaiting: boolean
  readonly isStalled: boolean
  readonly isOwed: boolean
  readonly endDue: number
  fatal(refusal: Refusal): void
  leave(how: Departure, reason: string): void
  drainIfIdle(): void
}

/** Time has passed: does to a client what is due. */
export function keepTimes(client: Timed, now: number): void {
  const { watch, server, endDue } = client
  const limits = client.access.clientLimits
  if (watch.dueBlocked(now, limits)) {
    client.leave('cut', 'client_write_timeout')
    client.stream.destroy('client_write_timeout')
    return
  }
  if (endDue > 0 && (now > endDue || !client.isOwed)) {
    client.leave('cut', 'the client closed the connection')
    return
  }
  client.drainIfIdle()
  // While we do not read from it, its silence is ours.
  if (client.isStalled) watch.lastDataAt = now
  if (server !== null) act(client, watch.dueLeased(now, limits, server.talk, client.hasOwnServer), server)
  else if (client.isWaiting) watch.remind(client, now, limits)
  else if (client.shared !== null) watch.endShared(client.shared, now, limits)
  else act(client, watch.dueIdle(now, limits), null)
}

/** Does what is due. */
function act(client: { fatal(refusal: Refusal): void }, due: Due, server: LeasedServer | null): void {
  switch (due) {
    case null:
      return
    case 'cancel':
      server?.cancel(() => {})
      return
    case 'query':
      server?.close('query_timeout')
      return
    case 'batch':
      client.fatal(timedOut('batch'))
      server?.close('client_batch_timeout')
      return
    default:
      client.fatal(timedOut(due))
  }
}

function isOver(since: number, limitMs: number, now: number): boolean {
  return since > 0 && limitMs > 0 && now - since > limitMs
}
