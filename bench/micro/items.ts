// The small pieces that every message or every transaction passes, each as a function that can be repeated,
// and the loop that tells how fast the machine is just now. Must never measure what waits for anything.
import { bindHead } from '../../src/backend/names.ts'
import { nextWaiter } from '../../src/pool/next-waiter.ts'
import { Replies, Reply } from '../../src/pool/replies.ts'
import type { PooledServer, Waiter } from '../../src/pool/types.ts'
import { WaitQueue } from '../../src/pool/wait-queue.ts'
import { FactBook } from '../../src/sql/fact-book.ts'
import type { Grammar } from '../../src/sql/grammar.ts'
import { STANDARD, UTF8 } from '../../src/sql/lexer.ts'
import { type Reading, scanFacts } from '../../src/sql/scanner.ts'
import { Found, Framer } from '../../src/wire/framer.ts'
import { CLIENT_RULES, type FrameRules, SERVER_RULES } from '../../src/wire/protocol.ts'
import * as m from '../../test/support/messages.ts'

/** Something to be repeated; what it gives is added up, so that nothing of it can be left out. */
export interface Item {
  readonly name: string
  run(): number
}

const WHOLE_MAX = 1 << 20
const PREFIX_MAX = 1 << 14
/** Exchanges of one chunk, and entries that a queue holds. */
const DEPTH = 8
const WAITING = 100
const IDLE = 10
const REFERENCE_BYTES = 1024
const QUERY =
  'select u.id, u.name, u.email, o.total from users u join orders o on o.user_id = u.id ' +
  'where u.id = $1 limit 10'
const READING: Reading = { flags: STANDARD | UTF8, marked: null }

/** What everything is a ratio to: bytes of a buffer, a multiplication each. */
export function reference(): Item {
  const bytes = Buffer.from(Uint8Array.from({ length: REFERENCE_BYTES }, (_, i) => i * 7))
  return {
    name: 'reference',
    run() {
      let hash = 2_166_136_261
      for (let i = 0; i < bytes.length; i++) hash = Math.imul(hash ^ bytes[i]!, 16_777_619)
      return hash
    },
  }
}

/** @returns all items, in the order in which they are shown */
export function allItems(grammar: Grammar): Item[] {
  const bind = m.bind({ statement: 'users_by_id', params: ['4711'] })
  const request = [bind, m.describe('P'), m.execute(), m.sync()]
  const row = m.message('D', Buffer.alloc(60))
  const complete = m.message('C', Buffer.from('SELECT 1\0'))
  const ready = m.message('Z', Buffer.from('I'))
  const answer = [m.message('2'), m.message('T', Buffer.alloc(32)), row, complete, ready]
  const query = Buffer.from(QUERY)
  const known = new FactBook(grammar, { bytesMax: 1 << 20 })
  return [
    framing('framer: 8 requests', CLIENT_RULES, request),
    framing('framer: 8 answers', SERVER_RULES, answer),
    renaming(bind),
    exchanges(),
    waiting(),
    choosing(),
    {
      name: 'scanner: a plain query',
      run: () => Number(scanFacts(query, 0, query.length, READING) !== null),
    },
    {
      name: 'facts: a known text',
      run: () => Number(known.look(query, 0, query.length, READING) !== null),
    },
  ]
}

function framing(name: string, rules: FrameRules, messages: readonly Buffer[]): Item {
  const chunk = Buffer.concat(Array.from({ length: DEPTH }, () => messages).flat())
  const framer = new Framer(rules, WHOLE_MAX, PREFIX_MAX)
  return {
    name,
    run() {
      let count = 0
      framer.push(chunk)
      while (framer.next() === Found.Message) count++
      if (count !== DEPTH * messages.length) throw new Error('the framer has lost messages')
      return count
    },
  }
}

/** A name is looked for and another one is put there, as for each Bind of a prepared statement. */
function renaming(bind: Buffer): Item {
  const framer = new Framer(CLIENT_RULES, WHOLE_MAX, PREFIX_MAX)
  framer.push(bind)
  framer.next()
  return {
    name: 'bind: another name',
    run() {
      const { src, start } = framer
      const nameStart = src.indexOf(0, start + 5) + 1
      return bindHead(framer, nameStart, src.indexOf(0, nameStart), 'pgmux_17').length
    },
  }
}

/** Requests and their answers, with several exchanges between the ends. */
function exchanges(): Item {
  const replies = new Replies()
  const kinds = [Reply.Bind, Reply.DescribePortal, Reply.Execute, Reply.Sync]
  const push = (): void => kinds.forEach((kind) => void replies.push(kind, null))
  for (let i = 0; i < DEPTH; i++) push()
  return {
    name: 'exchange queue: 4 replies',
    run() {
      let sum = 0
      push()
      for (let i = 0; i < kinds.length; i++) {
        sum += replies.head
        replies.shift()
      }
      return sum
    },
  }
}

function waiter(): Waiter<PooledServer> {
  return {
    baseline: '',
    wantedSettings: null,
    lastServer: null,
    waitingSince: 0,
    waitDeadline: 0,
    passedOver: 0,
    onGrant: () => {},
    onRefuse: () => {},
  }
}

/** The last comes, the first goes. */
function waiting(): Item {
  const queue = new WaitQueue<PooledServer>()
  for (let i = 0; i < WAITING; i++) queue.push(waiter())
  return {
    name: 'wait queue: one in, one out',
    run() {
      const first = queue.first!
      queue.remove(first)
      queue.push(first)
      return queue.size
    },
  }
}

/** Whom a free server is given to. */
function choosing(): Item {
  const queue = new WaitQueue<PooledServer>()
  for (let i = 0; i < WAITING; i++) queue.push(waiter())
  const idle = Array.from({ length: IDLE }, () => ({ baseline: '', settings: null }) as PooledServer)
  return { name: 'wait queue: who is next', run: () => (nextWaiter(queue, idle) === null ? 0 : 1) }
}
