// The notifications of one client that come from a hub: they wait here until Postgres could have sent them.
// It owns those that wait, in their order, within a limit of bytes. Whoever does not take them is closed: a
// client that goes on must not have missed one.
import type { Mailbox } from '../session/channels.ts'
import { isSameEncoding, type Settings } from '../session/settings.ts'
import { noticeResponse } from '../wire/error-response.ts'
import { notificationsNotTaken } from './refusals.ts'
import type { LeasedServer } from '../pool/lease.ts'
import type { PoolAccess } from './types.ts'
import type { Refusal } from '../pool/types.ts'
import type { ByteStream } from '../wire/byte-stream.ts'

/** A client, as far as its mail needs it. */
export interface Recipient {
  readonly access: Pick<PoolAccess, 'clientLimits' | 'hub'>
  readonly stream: ByteStream
  readonly session: { readonly settings: Settings }
  readonly pid: number
  readonly isGone: boolean
  readonly server: Pick<LeasedServer, 'talk'> | null
  deliver(bytes: Buffer): boolean
  fatal(refusal: Refusal): void
}

/** Where the names and payloads of notifications begin. */
const BEHIND_PID = 9

const GAP = noticeResponse({
  severity: 'WARNING',
  code: '01000',
  message: 'notifications may be missing',
  detail: 'The connection that listens for the clients of this database was lost and is back.',
  hint: 'Look at what the notifications tell about, as after a reconnect.',
})

/** It has changed its encoding since it listens: with the one of then it would have kept its server. */
const NOT_CONVERTED = noticeResponse({
  severity: 'WARNING',
  code: '22P05',
  message: 'a notification is missing: it is not in the client_encoding that was set after LISTEN',
  hint: 'Set client_encoding before LISTEN, or to the encoding of the database.',
})

/** One that waits. */
interface Letter {
  readonly message: Buffer
  /** '' : it is no notification. */
  readonly channel: string
}

export class Mail implements Mailbox {
  readonly #recipient: Recipient
  #waiting: Letter[] = []
  #bytes = 0
  #isHeld = false
  encoding = ''

  constructor(recipient: Recipient) {
    this.#recipient = recipient
  }

  get pool(): object {
    return this.#recipient.access
  }

  get pid(): number {
    return this.#recipient.pid
  }

  get isAny(): boolean {
    return this.#waiting.length > 0 && !this.#isHeld
  }

  /** Nothing is being answered, and no transaction is open. */
  get #isBetween(): boolean {
    const { server } = this.#recipient
    return server === null || server.talk.isBetween
  }

  onNotification(message: Buffer, channel: string): void {
    const recipient = this.#recipient
    if (recipient.isGone) return
    this.#accept(this.#isReadable(message) ? message : NOT_CONVERTED, channel)
  }

  /** ASCII is the same in all encodings. */
  #isReadable(message: Buffer): boolean {
    const own = this.#recipient.session.settings.values.get('client_encoding')
    if (own === undefined || isSameEncoding(own, this.encoding)) return true
    for (let at = BEHIND_PID; at < message.length; at++) if (message[at] > 0x7f) return false
    return true
  }

  #accept(message: Buffer, channel: string): void {
    const recipient = this.#recipient
    if (this.#waiting.length === 0 && !this.#isHeld && this.#isBetween) recipient.deliver(message)
    else {
      this.#waiting.push({ message, channel })
      this.#bytes += message.length
    }
    const max = recipient.access.clientLimits.notificationBuffer
    if (max === 0 || this.#bytes + recipient.stream.unsent <= max) return
    recipient.fatal(notificationsNotTaken(max))
    // It may be that it reads nothing at all.
    if (recipient.stream.unsent > max) recipient.stream.destroy('notifications_not_taken')
  }

  onGap(): void {
    if (!this.#recipient.isGone) this.#accept(GAP, '')
  }

  drop(channels: ReadonlySet<string> | null): void {
    const isWanted = ({ channel }: Letter): boolean =>
      channel === '' || (channels !== null && !channels.has(channel))
    this.#waiting = this.#waiting.filter(isWanted)
    this.#bytes = this.#waiting.reduce((sum, { message }) => sum + message.length, 0)
  }

  take(): Buffer {
    const messages = this.#waiting.map(({ message }) => message)
    this.#waiting = []
    this.#bytes = 0
    return messages.length === 1 ? messages[0] : Buffer.concat(messages)
  }

  deliver(): void {
    const recipient = this.#recipient
    if (this.isAny && !recipient.isGone && this.#isBetween) recipient.deliver(this.take())
  }

  hold(): void {
    this.#isHeld = true
  }

  release(): void {
    this.#isHeld = false
    this.deliver()
  }

  close(): void {
    this.#recipient.access.hub.leave(this)
    this.#waiting = []
  }
}
