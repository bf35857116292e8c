// Wrong passwords over WebSocket and HTTP at a fixed rate, and the good traffic that they must not hurt: two
// jobs, in two processes. Must never know a right password in the storm, nor send more than its rate.
import { type Latency, latencyOf } from '../figures.ts'
import { ACCOUNTS_PER_SCALE, SELECT_SCALE } from '../scenarios.ts'
import { GOOD_KINDS, type GoodKind } from '../web-scenarios.ts'
import type { Target, Trouble } from './connection.ts'
import { inOpenLoop } from './logins.ts'
import { HOLE, SELECT, selectTemplate, Template, upTo } from './statements.ts'
import type { StormFigures } from './storm.ts'
import { HttpConnection, requestOf } from './web-request.ts'
import { firstMessage, framed, openWebSocket, visitWebSocket, WebSocketConnection } from './web-socket.ts'

/**
 * Seconds with the storm and seconds without it in turn, for both processes: what else happens on the machine
 * happens in both. The first one is without.
 */
interface Seconds {
  /** ms since 1970. */
  readonly from: number
  readonly count: number
}

export interface WebStormJob extends Seconds {
  readonly kind: 'web-storm'
  /** With the port of the endpoint. */
  readonly target: Target
  readonly perSecond: number
}

export interface WebGoodJob extends Seconds {
  readonly kind: 'web-good'
  readonly target: Target
  /** Of each kind that keeps its connections. */
  readonly connections: number
  /** How many of each kind begin in a second. */
  readonly perSecond: Readonly<Record<GoodKind, number>>
}

/** ms of each that went well, by the second in which it was to begin. */
export interface WebGoodFigures {
  readonly calm: Readonly<Record<GoodKind, Latency | null>>
  readonly hurt: Readonly<Record<GoodKind, Latency | null>>
  readonly failed: number
  /** The first failure in words; '' for none. */
  readonly reason: string
}

type Ask = (answer: (trouble: Trouble | null) => void) => void

const NOTHING = Buffer.alloc(0)
const ACCOUNTS = ACCOUNTS_PER_SCALE * SELECT_SCALE
const BODY = JSON.stringify({ query: `${SELECT} $1`, params: [HOLE] })

const SECOND = 1000

/** ms until then, by the clock that both processes have. */
function until(when: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, when - Date.now()))
}

/** Half over each way; half of each for a user who exists. */
export async function runWebStorm({ target, perSecond, from, count }: WebStormJob): Promise<StormFigures> {
  const answers: Record<string, number> = {}
  const times: number[] = []
  let attempts = 0
  const guess = (done: () => void): void => {
    const i = attempts++
    const user = (i >> 1) % 2 === 0 ? target.user : `nobody_${i}`
    const began = performance.now()
    const way = i % 2 === 0 ? guessOverWebSocket : guessOverHttp
    way({ ...target, user, password: `guess-${i}-${began}` }, (trouble) => {
      const code = trouble === null ? 'let in' : trouble.code
      answers[code] = (answers[code] ?? 0) + 1
      times.push(performance.now() - began)
      done()
    })
  }
  const open: Promise<void>[] = []
  for (let second = 1; second < count; second += 2) {
    await until(from + second * SECOND)
    await inOpenLoop(perSecond, SECOND, () => open.push(new Promise(guess)))
  }
  await Promise.all(open)
  return { attempts, answers, latency: latencyOf(times) }
}

function guessOverWebSocket(target: Target, answer: (trouble: Trouble | null) => void): void {
  const connection = new WebSocketConnection(target, (refused) => {
    if (refused !== null) answer(refused)
    else {
      connection.ask(framed(firstMessage(target, NOTHING)), (trouble) => {
        connection.leave()
        answer(trouble)
      })
    }
  })
}

function guessOverHttp(target: Target, answer: (trouble: Trouble | null) => void): void {
  const connection = new HttpConnection(target)
  connection.ask(requestOf(target, BODY), (trouble) => {
    connection.leave()
    answer(trouble)
  })
}

/** Asks and connects at a fixed rate, and takes the time of each; a wait for a free connection counts. */
export async function runWebGood(job: WebGoodJob): Promise<WebGoodFigures> {
  const { target, from, count, connections, perSecond } = job
  const sockets = await Promise.all(Array.from({ length: connections }, () => openWebSocket(target)))
  const asks: Record<GoodKind, Ask[]> = {
    'HTTP requests': Array.from({ length: connections }, () => httpAsk(target)),
    'WebSocket queries': sockets.map(webSocketAsk),
    'WebSocket visits': Array.from({ length: connections }, () => visit(target)),
  }
  let failed = 0
  let reason = ''
  const onFailed = (trouble: Trouble): void => {
    failed++
    reason ||= trouble.message
  }
  await until(from)
  const each = await Promise.all(
    GOOD_KINDS.map((kind) => inTime(asks[kind], { perSecond: perSecond[kind], seconds: count }, onFailed)),
  )
  for (const socket of sockets) socket.leave()
  const latencies = (turn: number) =>
    Object.fromEntries(GOOD_KINDS.map((kind, i) => [kind, latencyOf(each[i]![turn]!)]))
  const [calm, hurt] = [latencies(0), latencies(1)] as [WebGoodFigures['calm'], WebGoodFigures['hurt']]
  return { calm, hurt, failed, reason }
}

/** @returns ms of those that began in a calm second, and of the others */
function inTime(
  free: Ask[],
  { perSecond, seconds }: { perSecond: number; seconds: number },
  onFailed: (trouble: Trouble) => void,
): Promise<[number[], number[]]> {
  const times: [number[], number[]] = [[], []]
  const waiting: number[] = []
  let open = perSecond * seconds
  const start = performance.now()
  return new Promise((resolve) => {
    const run = (ask: Ask, began: number): void => {
      ask((trouble) => {
        const turn = Math.floor((began - start) / SECOND) % 2
        if (trouble === null) times[turn]!.push(performance.now() - began)
        else onFailed(trouble)
        const next = waiting.shift()
        if (next === undefined) free.push(ask)
        else run(ask, next)
        if (--open === 0) resolve(times)
      })
    }
    void inOpenLoop(open, seconds * 1000, () => {
      const began = performance.now()
      const ask = free.pop()
      if (ask === undefined) waiting.push(began)
      else run(ask, began)
    })
  })
}

function httpAsk(target: Target): Ask {
  const template = new Template(requestOf(target, BODY))
  const connection = new HttpConnection(target)
  return (answer) => connection.ask(template.fill(upTo(ACCOUNTS)), answer)
}

function webSocketAsk(connection: WebSocketConnection): Ask {
  const template = new Template(framed(selectTemplate('extended').fill(0)))
  return (answer) => connection.ask(template.fill(upTo(ACCOUNTS)), answer)
}

function visit(target: Target): Ask {
  const template = new Template(framed(firstMessage(target, selectTemplate('extended').fill(0))))
  return (answer) => visitWebSocket(target, template.fill(upTo(ACCOUNTS)), answer)
}
