// LISTEN in transaction mode, as one server sees it. Statements about channels run for real, on the server;
// at the end of the transaction Postgres is asked what came of them, the hub takes over, and the server is
// freed. A client that has channels at the hub gets them on its server before a statement that depends on
// them. It owns what is under way between a server and a hub; while anything is, the server is nobody else's,
// and where something fails the client keeps it (pin `listen`), with all that it listens to.
//
// Which notification comes from where: the hub's channels from the hub, all others from the server. Where a
// channel changes hands there is a sign in Postgres' order of notifications, which both see: what stands in
// front of it is the server's, what stands behind it the hub's.
import type { Lessee } from '../pool/lease.ts'
import type { Channel, Mailbox } from '../session/channels.ts'
import { isSameEncoding } from '../session/settings.ts'
import type { VirtualSession } from '../session/virtual-session.ts'
import { type Effects, Touch } from '../sql/effects.ts'
import { Fact } from '../sql/scanner.ts'
import type { Framer } from '../wire/framer.ts'
import { channelOf, pidOf, quotedChannel, toldAs } from '../wire/notification.ts'
import { bringText, CLEAR_TEXT, namesOf, readText } from './channel-texts.ts'
import type { Hub } from './hub.ts'
import { inject } from './inject.ts'
import { type InternalExchange, internalExchange, writeQuery } from './internal.ts'
import type { Problem } from './listening-server.ts'
import { OwnNotifications } from './own-notifications.ts'
import type { Output } from './output.ts'
import type { OwnRow } from './own-rows.ts'
import type { ServerParts } from './route.ts'
import { Copy, type Talk } from './talk.ts'
import type { Wish } from './wishes.ts'

/** Channels that are brought for a statement of which nobody knows what it does. */
const UNKNOWN_MAX = 1000
/** When to try again, while a client stays pinned because the hub could not take over. */
const RETRY_MS = 3000
/** How long a sign may take: Postgres tells an idle session at once. */
const SIGN_MS = 5000
const TOKEN_BYTES = 8

/** What is needed of a server. */
export interface ChannelTarget {
  readonly parts: ServerParts
  readonly talk: Talk
  readonly out: Output
  readonly pid: number
  readonly lessee: Lessee | null
  /** Something has happened outside of its stream. */
  settle(): void
  close(reason: string): void
}

/** Channels on their way from the server to the hub. */
interface Move {
  readonly session: VirtualSession
  readonly names: ReadonlySet<string>
  readonly sign: string
  wish: Wish | null
  /** The hub has them. */
  isTaken: boolean
  /** What came for them on the server behind the sign; null: the sign has not come. */
  behind: Buffer[] | null
  /** Coarse time by which the sign must have come. */
  readonly deadline: number
}

export class VirtualChannels {
  readonly own: OwnNotifications
  readonly #server: ChannelTarget
  /** Under which the present client's channels were brought; '' : they were not. */
  #token = ''
  /**
   * The server listens to all that the client has, for certain: what it listens to is the truth. Null: that
   * has not mattered yet, and is so if the client has nothing at the hub.
   */
  #isWhole: boolean | null = null
  /** What the server listens to may have changed. */
  #isDue = false
  /** Number of the batch in which the client sent a DISCARD ALL that may not have ended; negative: none. */
  #discardedIn = -1
  #retryAt = 0
  #statement = ''
  #move: Move | null = null
  #isSubscribing = false

  constructor(server: ChannelTarget) {
    this.#server = server
    this.own = new OwnNotifications(server)
  }

  get #hub(): Hub {
    return this.#server.parts.hub()
  }

  // ---- what the client sends ----

  /**
   * A message with a text of these effects is about to be sent. @param isRun it is to be run
   * @returns whether it may be: else it waits for what is in flight
   */
  prepare(effects: Effects, isRun: boolean): boolean {
    const { talk, lessee } = this.#server
    const mail = lessee?.session.mail ?? null
    if (mail === null || talk.copy !== Copy.None) return true
    const channels = this.#hub.channels.channelsOf(mail)
    this.#isWhole ??= channels.size === 0
    if (channels.size === 0) return true
    // In its own batch nothing runs behind a DISCARD ALL that has failed; else it has to be known first.
    const isBehind = this.#discardedIn === talk.batch
    if (!this.#isWhole && !isBehind && this.#needs(effects, channels.size)) {
      if (this.#discardedIn >= 0 && talk.exchanges > 0) return false
      this.#bring(channels)
    }
    if (isRun && (effects.touches & Touch.DiscardsAll) !== 0) this.#discardedIn = talk.batch
    if (isRun && (effects.touches & Touch.Notifies) !== 0) this.own.begin(mail)
    return true
  }

  #needs({ facts, touches }: Effects, count: number): boolean {
    // It is told by its tag, and nothing may stand in front of it in a batch.
    if ((touches & Touch.DiscardsAll) !== 0) return false
    if ((touches & Touch.Unlistens) !== 0 || (facts & Fact.Peeks) !== 0) return true
    return (touches & Touch.Unknown) !== 0 && count <= UNKNOWN_MAX
  }

  #bring(channels: ReadonlySet<Channel>): void {
    const { talk, parts } = this.#server
    if (this.#token === '') this.#token = parts.random.bytes(TOKEN_BYTES).toString('hex')
    const names = Array.from(channels, ({ name }) => name)
    // In a transaction of its own nothing of the client's can roll it back.
    this.#isWhole = inject(this.#server, bringText(names, this.#token), { name: 'channels', isGuard: true })
    this.#isDue = talk.isListening = true
    talk.touched |= Touch.Channels
  }

  // ---- what the server sends ----

  /**
   * A ReadyForQuery has come, and what stands in front of it is delivered: now the notifications are.
   * @returns whether it waits: it is delivered later, from here
   */
  takesReady(): boolean {
    // What it listens to now decides what it still gets.
    const isUncertain = this.#token !== '' && this.#isDue && this.#server.talk.time.now >= this.#retryAt
    if (this.own.takesReady(isUncertain)) return true
    const { lessee } = this.#server
    const { mail = null } = lessee?.session ?? {}
    if (mail?.isAny === true) lessee?.deliver(mail.take())
    return false
  }

  /** @returns what the client gets of a notification of the server; null: nothing */
  receive(framer: Framer): Buffer | null {
    const { lessee, pid } = this.#server
    const { src, start, stop } = framer
    const name = channelOf(src, start, stop)
    if (lessee === null || name === null || !this.#mayListen(lessee.session)) return null
    const { mail } = lessee.session
    const move = this.#move
    if (move?.sign === name && pidOf(src, start) === this.#hub.pid) {
      this.#onSign(move)
      return null
    }
    const isMoving = move?.names.has(name) === true
    if (!isMoving && mail !== null && this.#hub.channels.subscribersOf(name).has(mail)) return null
    // It is of this client: whoever had the server before did not run while the server listened to this.
    const message = Buffer.from(toldAs(framer, pid, lessee.pid))
    // In front of the sign it is the server's to tell, even where the hub has seen the sign already.
    if (!isMoving || move.behind === null) return message
    if (!move.isTaken) move.behind.push(message)
    return null
  }

  /** The server may listen to something for this client. */
  #mayListen({ pins }: VirtualSession): boolean {
    const { talk } = this.#server
    const mayHave = (talk.touched & (Touch.Channels | Touch.Unknown)) !== 0
    return mayHave || talk.isListening || talk.isReadingBack || pins.has('listen')
  }

  #onSign(move: Move): void {
    move.behind = []
    if (move.isTaken) move.session.mail?.release()
  }

  // ---- between transactions: nothing of the client's is in flight, and what it sends waits ----

  /**
   * What the session listens to may have changed.
   * @param statement because of which it may have to keep its server
   * @returns whether that is looked after here
   */
  takesOver(session: VirtualSession, statement = ''): boolean {
    if (!this.#isVirtual(session)) return false
    this.#isDue = this.#server.talk.isListening = true
    this.#retryAt = 0
    this.#statement = statement
    return true
  }

  /** The same where Postgres was asked whether the server listens to anything. */
  note(session: VirtualSession, isAny: boolean, statement: string): boolean {
    if (isAny || this.#token !== '') return this.takesOver(session, statement)
    return this.#isVirtual(session)
  }

  /** DISCARD ALL has ended. */
  discarded(session: VirtualSession): void {
    const { mail } = session
    if (mail !== null) this.#hub.leave(mail)
    mail?.drop(null)
    this.#forget()
    this.#over(session)
  }

  /** After each event: goes on with what is to be done, if this is a moment for it. */
  settle(session: VirtualSession): void {
    if (!this.#isDue && this.#move === null) return
    const { talk } = this.#server
    if (talk.touched !== 0 || !talk.isQuiet) return
    const move = this.#move
    if (move !== null) {
      if (move.isTaken && move.behind !== null) this.#clear(session)
    } else if (talk.time.now >= this.#retryAt && this.#isVirtual(session)) this.#read(session)
  }

  /** Otherwise what it has stays where it is. */
  #isVirtual({ mail, once }: VirtualSession): boolean {
    if (this.#server.parts.route.maxChannels > 0) return once === null
    return mail !== null && this.#hub.channels.channelsOf(mail).size > 0
  }

  #read(session: VirtualSession): void {
    const sign = `${this.#hub.channel}_${this.#server.parts.random.bytes(TOKEN_BYTES).toString('hex')}`
    let row: OwnRow = []
    this.#isDue = false
    const exchange = this.#ask(session, readText(sign), (error) => {
      const [token, list] = row
      if (error === null && list !== undefined) this.#compare(session, sign, { token, names: namesOf(list) })
      else this.#stay(session, '', 'what a client listens to cannot be read')
    })
    exchange.onRow = (found) => {
      row = found
    }
  }

  /** What the server listens to, against what the client has at the hub. */
  #compare(
    session: VirtualSession,
    sign: string,
    found: { token: string | null | undefined; names: readonly string[] },
  ): void {
    const { lessee, parts } = this.#server
    const names = new Set(found.names)
    if (names.size > 0 && lessee !== null) session.mail ??= parts.openMail(lessee)
    const { mail } = session
    if (mail !== null) this.#subtract(mail, names, found.token === this.#token)
    this.own.areChannelsKnown()
    if (names.size === 0) this.#clear(session)
    else if (mail !== null && this.#mayHand(session, mail, names)) this.#hand({ session, mail }, sign, names)
    else this.#stay(session, sign, '')
  }

  /** Leaves in `names` what the hub does not have yet, and takes from it what is not there any more. */
  #subtract(mail: Mailbox, names: Set<string>, isToken: boolean): void {
    const { channels } = this.#hub
    const isBrought = this.#token !== '' && isToken
    this.#isWhole = isBrought || (this.#isWhole ?? channels.channelsOf(mail).size === 0)
    if (this.#isWhole) {
      const ended = new Set(Array.from(channels.channelsOf(mail), ({ name }) => name))
      for (const name of names) ended.delete(name)
      this.#hub.unsubscribe(mail, ended)
      mail.drop(ended)
    }
    for (const { name } of channels.channelsOf(mail)) names.delete(name)
  }

  /** Otherwise the server listens for the client. */
  #mayHand({ settings }: VirtualSession, mail: Mailbox, names: ReadonlySet<string>): boolean {
    const { talk, parts } = this.#server
    mail.encoding = talk.parameters.get('server_encoding') ?? ''
    const count = this.#hub.channels.channelsOf(mail).size + names.size
    const encoding = settings.values.get('client_encoding') ?? ''
    return count <= parts.route.maxChannels && isSameEncoding(encoding, mail.encoding)
  }

  #hand(
    { session, mail }: { session: VirtualSession; mail: Mailbox },
    sign: string,
    names: ReadonlySet<string>,
  ): void {
    const { talk } = this.#server
    const deadline = talk.time.now + SIGN_MS
    const move: Move = { session, names, sign, wish: null, isTaken: false, behind: null, deadline }
    this.#move = move
    talk.isHandingOver = true
    this.#isSubscribing = true
    move.wish = this.#hub.subscribe(mail, [...names], sign, (problem) => this.#onHub(move, problem))
    this.#isSubscribing = false
  }

  #onHub(move: Move, problem: Problem | null): void {
    if (this.#move !== move) return
    const { session, behind, sign } = move
    move.isTaken = problem === null
    if (problem !== null) {
      this.#move = null
      this.#server.talk.isHandingOver = false
      for (const message of behind ?? []) this.#server.lessee?.deliver(message)
      this.#stay(session, sign, `a client that listens keeps its server: ${problem.message}`)
    } else if (behind === null)
      session.mail?.hold() // What the hub brings now stands behind the sign.
    else if (!this.#isSubscribing) this.#server.settle()
  }

  /**
   * The server goes on listening for the client: with more channels than the hub takes, in an encoding that
   * the hub does not speak, or until it can.
   */
  #stay(session: VirtualSession, sign: string, why: string): void {
    const { parts, talk } = this.#server
    session.pins.add('listen', this.#statement)
    if (why !== '') {
      parts.warn(why)
      this.#isDue = true
      this.#retryAt = talk.time.now + RETRY_MS
    }
    if (sign !== '') this.#ask(session, `UNLISTEN ${quotedChannel(sign)}`, () => {})
  }

  /** The hub has all: the server listens to nothing any more. */
  #clear(session: VirtualSession): void {
    this.#forget()
    this.#ask(session, CLEAR_TEXT, (error) => {
      if (error !== null) this.#server.close('a server could not be made to listen to nothing')
      else this.#over(session)
    })
  }

  /** The server listens to nothing any more. */
  #over(session: VirtualSession): void {
    this.#server.talk.isListening = this.#token !== ''
    session.pins.delete('listen')
  }

  /** An exchange of ours, for which the client's next one waits. @param then it is still the client's */
  #ask(session: VirtualSession, text: string, then: (error: Buffer | null) => void): InternalExchange {
    const { talk, out } = this.#server
    talk.isHandingOver = true
    const exchange = internalExchange('channels', false, (_status, { error }) => {
      const { lessee } = this.#server
      if (lessee?.session === session) {
        talk.isHandingOver = false
        then(error)
      } else if (error !== null) this.#server.close('a server could not be made to listen to nothing')
    })
    writeQuery(talk, out, text, exchange)
    out.flush()
    return exchange
  }

  #forget(): void {
    const move = this.#move
    this.#move = null
    this.#token = ''
    this.#isDue = false
    this.#discardedIn = -1
    this.#isWhole = null
    this.#server.talk.isHandingOver = false
    if (move === null) return
    if (move.wish !== null) this.#hub.withdraw(move.wish)
    move.session.mail?.release()
  }

  // ---- ends ----

  /** The client has gone, or has no part in the server any more. */
  dropped(): void {
    const { lessee, talk } = this.#server
    const isAny = talk.isHandingOver || talk.isListening || this.#isDue || this.#token !== ''
    if (isAny || this.#isWhole !== null) {
      this.#forget()
      if (lessee !== null) this.#over(lessee.session)
    }
    this.own.dropped()
  }

  /** Time has passed. */
  tick(now: number): void {
    this.own.tick(now)
    const move = this.#move
    if (move?.isTaken === true && move.behind === null && now > move.deadline) {
      // This server and the hub are not of one database any more: nobody knows what stood between them.
      this.#onSign(move)
      move.session.mail?.onGap()
      this.#server.settle()
    }
    if (this.#isDue && this.#retryAt > 0 && now >= this.#retryAt) {
      this.#retryAt = 0
      this.#server.settle()
    }
  }
}
