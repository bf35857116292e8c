// One connection of a load: logs in, then asks one thing after another. It owns its socket.
// Must never hold more than one exchange in flight, nor hide what a server refused.
import { createHash } from 'node:crypto'
import { connect, type Socket } from 'node:net'
import * as m from '../../test/support/messages.ts'
import { type KeyRing, ScramTalk } from './scram.ts'
import { errorField, Skimmer, TYPE } from './skimmer.ts'

/** Whom to connect to, and as whom. */
export interface Target {
  readonly host: string
  readonly port: number
  readonly user: string
  readonly database: string
  /** '' where it asks for none. */
  readonly password: string
}

/** Why an exchange or a login has failed. `code` is the SQLSTATE; '' where the connection is gone. */
export interface Trouble {
  readonly code: string
  readonly message: string
}

type Answer = (trouble: Trouble | null) => void

/** One for all sockets: what was read is looked at before the next one reads. */
const SHARED = Buffer.allocUnsafeSlow(256 * 1024)
const AUTH = { ok: 0, cleartext: 3, md5: 5, sasl: 10, saslContinue: 11, saslFinal: 12 } as const

export class Connection {
  /** Bytes that the server has sent. */
  received = 0
  readonly socket: Socket
  readonly #target: Target
  readonly #keys: KeyRing
  readonly #skimmer = new Skimmer((type, body) => this.#onMessage(type, body))
  #talk: ScramTalk | null = null
  #answer: Answer | null
  #onCopy: (() => void) | null = null
  #trouble: Trouble | null = null
  #onGone: (() => void) | null = null
  #gone = false

  /** @param onReady the login is over: null, or why it failed (the connection is then closed) */
  constructor(target: Target, keys: KeyRing, onReady: Answer) {
    this.#target = target
    this.#keys = keys
    this.#answer = onReady
    const { host, port, user, database } = target
    const onread = { buffer: SHARED, callback: (count: number) => this.#onRead(count) }
    this.socket = connect({ host, port, noDelay: true, onread })
    // Written before the connection stands: it leaves as soon as it does.
    this.socket.write(m.startup({ user, database, application_name: 'bench' }))
    this.socket.on('error', (error) => this.#end(error.message))
    this.socket.on('close', () => this.#end('the server closed the connection'))
  }

  /** Sends bytes that end in a Query or Sync; `answer` is called at the ReadyForQuery. */
  ask(bytes: Uint8Array, answer: Answer): void {
    if (this.#gone) {
      answer({ code: '', message: 'the connection is gone' })
      return
    }
    this.#answer = answer
    this.socket.write(bytes)
  }

  /** As ask(), for a COPY from us: `onCopy` is called when the server wants the data. */
  copyIn(query: string, onCopy: () => void, answer: Answer): void {
    this.#onCopy = onCopy
    this.ask(m.query(query), answer)
  }

  /** Says goodbye and closes; `onGone` is called when the connection is closed on both sides. */
  leave(onGone: () => void = () => {}): void {
    if (this.#gone) {
      onGone()
      return
    }
    this.#onGone = onGone
    this.#answer = null
    this.socket.end(m.terminate())
  }

  #onRead(count: number): boolean {
    this.received += count
    try {
      this.#skimmer.push(SHARED, count)
    } catch (error) {
      this.#end((error as Error).message)
      this.socket.destroy()
    }
    return true
  }

  #onMessage(type: number, body: Buffer): void {
    if (type === TYPE.error) {
      this.#trouble ??= { code: errorField(body, 'C'), message: errorField(body, 'M') }
      return
    }
    if (type === TYPE.copyIn) {
      this.#onCopy?.()
      return
    }
    if (type === TYPE.authentication) {
      this.#authenticate(body)
      return
    }
    const trouble = this.#trouble
    this.#trouble = null
    this.#give(trouble)
  }

  #authenticate(body: Buffer): void {
    const { user, password } = this.#target
    switch (body.readInt32BE(0)) {
      case AUTH.ok:
      case AUTH.saslFinal:
        return
      case AUTH.cleartext:
        this.socket.write(m.password(password))
        return
      case AUTH.md5: {
        const hash = (text: string | Buffer): string => createHash('md5').update(text).digest('hex')
        const salted = Buffer.concat([Buffer.from(hash(password + user)), body.subarray(4, 8)])
        this.socket.write(m.password(`md5${hash(salted)}`))
        return
      }
      case AUTH.sasl: {
        this.#talk = new ScramTalk(this.#keys)
        const { mechanism, data } = this.#talk.first()
        this.socket.write(m.saslInitialResponse(mechanism, data))
        return
      }
      case AUTH.saslContinue:
        this.socket.write(m.saslResponse(this.#talk!.answer(body.toString('latin1', 4))))
        return
      default:
        throw new Error('the server asks for a way to log in that the bench does not know')
    }
  }

  #give(trouble: Trouble | null): void {
    const answer = this.#answer
    this.#answer = null
    answer?.(trouble)
  }

  #end(why: string): void {
    if (this.#gone) return
    this.#gone = true
    // What the server said before it closed is the better reason.
    this.#give(this.#trouble ?? { code: '', message: why })
    this.#onGone?.()
  }
}

/** @returns a connection that is logged in @throws Error with the server's words */
export function open(target: Target, keys: KeyRing): Promise<Connection> {
  return new Promise((resolve, reject) => {
    const connection = new Connection(target, keys, (trouble) => {
      if (trouble === null) resolve(connection)
      else reject(new Error(trouble.message))
    })
  })
}
