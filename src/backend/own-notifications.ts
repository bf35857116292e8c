// What a client with channels at the hub notifies itself. Postgres tells a session of its own notifications
// before its ReadyForQuery, with its own number: so there is a mark in front of the statement and one behind
// the transaction, what stands between them is the client's, and its ReadyForQuery waits until the hub has
// seen the second, but not for long. It owns these marks and that ReadyForQuery.
import type { Mailbox } from '../session/channels.ts'
import { READY_IDLE } from '../wire/messages.ts'
import { markText, plainMarkText } from './channel-texts.ts'
import type { Hub } from './hub.ts'
import { inject } from './inject.ts'
import { internalExchange, writeQuery } from './internal.ts'
import type { ChannelTarget } from './virtual-channels.ts'

export class OwnNotifications {
  readonly #server: ChannelTarget
  /** Marks in front of what was sent and is not committed, so far as one knows. */
  #begun: string[] = []
  #heldUntil = 0
  /** The mark that a ReadyForQuery waits for; '' : none. A later one may be another client's. */
  #waitsForMark = ''
  #waitsForChannels = false

  constructor(server: ChannelTarget) {
    this.#server = server
  }

  get #hub(): Hub {
    return this.#server.parts.hub()
  }

  /** A statement that notifies is about to be sent. */
  begin(mail: Mailbox): void {
    const hub = this.#hub
    if (!hub.isListening) return
    const { talk, pid } = this.#server
    const token = hub.expect({
      pid,
      onSeen: () => hub.authors.set(pid, mail.pid),
      onLost: () => {},
    })
    this.#begun.push(token)
    const isInside = talk.isBatchOpen || talk.mayBeInside
    const text = isInside ? plainMarkText(hub.channel, token) : markText(hub.channel, token)
    inject(this.#server, text, { name: 'mark', isGuard: false })
  }

  /**
   * No transaction is open any more.
   * @param isUncertain it is not known yet which channels the client has now
   * @returns whether its ReadyForQuery waits: it is delivered from here
   */
  takesReady(isUncertain: boolean): boolean {
    const { talk, parts } = this.#server
    // Behind the last one of a pipeline, that is.
    if (talk.replies.size > 1 || (this.#begun.length === 0 && !isUncertain)) return false
    this.#waitsForMark = this.#begun.length > 0 ? this.#mark() : ''
    this.#waitsForChannels = isUncertain
    if (parts.route.notifyWaitMs === 0 || (this.#waitsForMark === '' && !isUncertain)) return false
    talk.isReadyHeld = true
    this.#heldUntil = parts.clock.now() + parts.route.notifyWaitMs
    return true
  }

  /** Behind what the client has notified. @returns its token; '' : the hub will not see it */
  #mark(): string {
    const hub = this.#hub
    const begun = this.#begun.splice(0)
    if (!hub.isListening) return ''
    const { talk, out, pid } = this.#server
    const onSeen = (): void => {
      this.#forget(begun)
      if (this.#isOver(token)) this.#server.settle()
    }
    const token = hub.expect({ pid, onSeen, onLost: onSeen })
    const exchange = internalExchange('mark', false, (_status, { error }) => {
      if (error === null) return
      this.#forget([...begun, token])
      this.#isOver(token)
    })
    writeQuery(talk, out, markText(hub.channel, token), exchange)
    out.flush()
    return token
  }

  /** This mark need not be waited for. @returns whether that has set the client free */
  #isOver(token: string): boolean {
    if (this.#waitsForMark !== token) return false
    this.#waitsForMark = ''
    if (this.#waitsForChannels) return false
    this.deliverReady()
    return true
  }

  #forget(tokens: readonly string[]): void {
    const hub = this.#hub
    for (const token of tokens) hub.forget(token)
    hub.authors.delete(this.#server.pid)
  }

  /** What the client does not listen to any more it gets no more. */
  areChannelsKnown(): void {
    this.#waitsForChannels = false
    if (this.#waitsForMark === '') this.deliverReady()
  }

  /** What was held is delivered: what the client has notified, and that it is ready. */
  deliverReady(): void {
    const { talk, lessee } = this.#server
    if (!talk.isReadyHeld) return
    talk.isReadyHeld = this.#waitsForChannels = false
    this.#waitsForMark = ''
    const mail = lessee?.session.mail
    if (mail?.isAny === true) lessee?.deliver(mail.take())
    lessee?.deliver(READY_IDLE)
  }

  /** The client has no part in the server any more. */
  dropped(): void {
    this.deliverReady()
    if (this.#begun.length > 0) this.#forget(this.#begun.splice(0))
  }

  /** Time has passed. */
  tick(now: number): void {
    if (!this.#server.talk.isReadyHeld || now < this.#heldUntil) return
    this.deliverReady()
    this.#server.settle()
  }
}
