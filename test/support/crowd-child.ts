// Owns: many clients in a process of their own, started by crowd.ts, so that neither their memory nor their
// work is that of the pooler under test. Must only do what its parent asks over the channel between them.
import { connect, type Socket } from 'node:net'
import * as m from './messages.ts'
import { frame, upgradeHead } from './web-socket.ts'

/** What the parent sends. */
export type CrowdOrder =
  /** Opens so many connections, `atOnce` at a time, and logs in (trust) where a user is named. */
  | { open: { count: number; atOnce: number } & Door }
  /** Every client sends these bytes (base64) and waits for its ReadyForQuery, `atOnce` at a time. */
  | { ask: { bytes: string; atOnce: number } }
  | { close: true }

interface Door {
  host: string
  port: number
  user?: string
  database?: string
  /** Over WebSockets. */
  isWeb?: boolean
}

/** What the parent gets: how many are there, how many were refused or lost, and how long each took, in ms. */
export interface CrowdReply {
  readonly open: number
  readonly lost: number
  readonly times: number[]
}

const READY = m.message('Z', 'I')

class Member {
  isReady = false
  isLost = false
  /** ReadyForQuery messages that are still to come. */
  owed = 0
  onSettled: () => void = () => {}
  readonly #socket: Socket
  readonly #isWeb: boolean
  #tail = Buffer.alloc(0)

  constructor(door: Door) {
    const { host, port, user, database = '', isWeb = false } = door
    this.#isWeb = isWeb
    this.#socket = connect({ host, port, noDelay: true })
    this.owed = user === undefined ? 0 : 1
    this.#socket.on('connect', () => {
      if (user === undefined) this.#settle()
      else if (isWeb) this.#socket.write(upgradeHead({}))
      else this.#socket.write(m.startup({ user, database }))
    })
    if (isWeb && user !== undefined)
      this.#socket.once('data', () => this.#socket.write(frame(m.startup({ user, database }))))
    this.#socket.on('data', (chunk: Buffer) => this.#onData(chunk))
    this.#socket.on('error', () => {})
    this.#socket.on('close', () => {
      this.isLost = true
      this.#settle()
    })
  }

  ask(bytes: Buffer): void {
    this.owed = 1
    this.#socket.write(this.#isWeb ? frame(bytes) : bytes)
  }

  destroy(): void {
    this.#socket.destroy()
  }

  /** Answers are short or end with their ReadyForQuery: only the ends of messages are looked at. */
  #onData(chunk: Buffer): void {
    const bytes = this.#tail.length === 0 ? chunk : Buffer.concat([this.#tail, chunk])
    let at = bytes.indexOf(READY)
    let from = 0
    for (; at >= 0 && this.owed > 0; at = bytes.indexOf(READY, from)) {
      from = at + READY.length
      this.owed--
    }
    this.#tail = Buffer.from(bytes.subarray(Math.max(from, bytes.length - READY.length + 1)))
    if (this.owed === 0) {
      this.isReady = true
      this.#settle()
    }
  }

  #settle(): void {
    const told = this.onSettled
    this.onSettled = () => {}
    told()
  }
}

const members: Member[] = []

/** Has each do something, `atOnce` of them at a time. @returns how long each took */
async function all<T>(list: readonly T[], atOnce: number, act: (one: T) => Member): Promise<number[]> {
  const times: number[] = []
  let next = 0
  const lane = async (): Promise<void> => {
    while (next < list.length) {
      const one = list[next++] as T
      const from = performance.now()
      await new Promise<void>((resolve) => {
        act(one).onSettled = resolve
      })
      times.push(performance.now() - from)
    }
  }
  await Promise.all(Array.from({ length: Math.min(atOnce, list.length) }, lane))
  return times
}

function reply(times: number[]): void {
  const lost = members.filter(({ isLost }) => isLost).length
  const told: CrowdReply = { open: members.length - lost, lost, times }
  process.send?.(told)
}

process.on('message', async (order: CrowdOrder) => {
  if ('open' in order) {
    const { count, atOnce } = order.open
    const times = await all(Array.from({ length: count }), atOnce, () => {
      const member = new Member(order.open)
      members.push(member)
      return member
    })
    reply(times)
  } else if ('ask' in order) {
    const bytes = Buffer.from(order.ask.bytes, 'base64')
    const there = members.filter(({ isLost }) => !isLost)
    const times = await all(there, order.ask.atOnce, (member) => {
      member.ask(bytes)
      return member
    })
    reply(times)
  } else {
    for (const member of members.splice(0)) member.destroy()
    reply([])
    process.disconnect()
  }
})
