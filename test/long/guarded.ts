// Owns: the connection of an application that lives through faults: what is an interruption (and not a wrong
// answer) and how long it is open. Must never take a wrong answer for an interruption.
import assert from 'node:assert/strict'
import { type ClientOptions, WireClient } from '../support/wire-client.ts'

/** SQLSTATEs that acts ask for, and check themselves. */
const ASKED_FOR = ['22P02', '22012', '25P02', '26000', '57014', '0A000', '42601', '42P01']

/** An act could not be finished: its client was told, or its connection is gone. */
export class Interrupted extends Error {
  /** SQLSTATE, or `lost`: the connection ended without a word. */
  readonly code: string
  /** The connection to which it happened. */
  readonly client: WireClient | null
  /** That connection is over. */
  readonly isOver: boolean

  constructor(code: string, words: string, client: WireClient | null, isOver = true) {
    super(words)
    this.name = 'Interrupted'
    this.code = code
    this.client = client
    this.isOver = isOver
  }
}

/** Connections that are open at our end, and logins that succeeded. */
export class Doors {
  readonly open = new Set<WireClient>()
  logins = 0

  /** Connects and logs in. @throws Interrupted where the server refuses or goes */
  async enter(options: ClientOptions): Promise<WireClient> {
    const client = await WireClient.open(options)
    guard(client)
    this.open.add(client)
    void client.closed.then(() => this.open.delete(client))
    try {
      await client.login()
    } catch (error) {
      client.destroy()
      throw error
    }
    this.logins++
    pending.set(client, 0)
    countRequests(client)
    client.received.length = 0
    return client
  }
}

/** ReadyForQuery that each connection has still to give. */
const pending = new WeakMap<WireClient, number>()

/** From now on an error that no act asks for, and the end of the connection, is an Interrupted. */
function guard(client: WireClient): void {
  const next = client.next.bind(client)
  client.next = async (timeout) => {
    const message = await next(timeout).catch((error: Error) => {
      if (/^no message within/.test(error.message)) throw error
      throw new Interrupted('lost', error.message.slice(0, 200), client)
    })
    if (message.type === 'Z') pending.set(client, (pending.get(client) ?? 0) - 1)
    if (message.type !== 'E' || ASKED_FOR.includes(message.code)) return message
    const { code, severity, fields } = message
    const detail = fields.D === undefined ? '' : ` (${fields.D})`
    const words = `${severity} ${message.message}${detail}`
    throw new Interrupted(code, words, client, severity === 'FATAL')
  }
}

/** Counts the requests that each give a ReadyForQuery. To be called after the login. */
function countRequests(client: WireClient): void {
  const send = client.send.bind(client)
  client.send = (...bytes) => {
    const all = Buffer.concat(bytes)
    for (let at = 0; at < all.length; at += 1 + all.readUInt32BE(at + 1)) {
      const type = String.fromCharCode(all[at] as number)
      if (type === 'Q' || type === 'S') pending.set(client, (pending.get(client) ?? 0) + 1)
    }
    send(all)
  }
}

/**
 * The connection of a client that was told an error, and not that it is closed, works: after the rest of what
 * was under way it answers.
 * @param note is given each further error of what was under way
 * @throws Interrupted where the connection ends after all
 */
export async function assertWorks(
  client: WireClient,
  mark: string,
  note: (interrupted: Interrupted) => void,
): Promise<void> {
  for (;;) {
    try {
      while ((pending.get(client) ?? 0) > 0) await client.next()
      const { rows, status } = await client.query(`select '${mark}'`)
      assert.deepEqual(rows, [[mark]])
      assert.equal(status, 'I')
      return
    } catch (error) {
      if (!(error instanceof Interrupted) || error.isOver) throw error
      note(error)
    }
  }
}

/** What a socket throws when a request is written to a connection that is gone. */
export function isBroken(error: unknown): boolean {
  const { code } = error as { code?: string }
  return code === 'EPIPE' || code === 'ECONNRESET' || code === 'ERR_STREAM_DESTROYED'
}
