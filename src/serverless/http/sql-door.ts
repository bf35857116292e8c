// `POST /sql`: one request, from its headers to its answer. It owns the requests that are under way. The
// login is that of any client, the execution that of `run.ts`; nothing of a header or a body is ever
// logged.
import type { ServerlessConfig } from '../../config/types.ts'
import { randomUuid } from '../../net/random.ts'
import type { Log } from '../../observe/log.ts'
import type { Doors, RequestHeaders } from '../doors.ts'
import type { Caller, Logins } from '../types.ts'
import { problem } from './problem.ts'
import { Reply, type SqlResponse } from './reply.ts'
import { Request, type RequestHouse } from './request.ts'
import { TypeTable } from './types.ts'

/** The part of an HTTP request that is looked at (node:http's IncomingMessage has it). */
export interface SqlRequest {
  readonly method?: string | undefined
  readonly url?: string | undefined
  readonly headers: RequestHeaders
  /** All of it, where it is here already: nothing comes by `on` then. */
  readonly body?: Buffer
  on(event: 'data', listener: (chunk: Buffer) => void): unknown
  on(event: 'end', listener: () => void): unknown
}

export interface SqlDoorParts {
  readonly house: RequestHouse
  readonly logins: Logins
  readonly log: Log
  /** What counts at present. */
  config(): ServerlessConfig
}

/** Databases whose types are remembered. */
const DATABASES_MAX = 100

export class SqlDoor {
  readonly #parts: SqlDoorParts
  readonly #requests = new Set<Request>()
  readonly #types = new Map<string, TypeTable>()

  constructor(parts: SqlDoorParts) {
    this.#parts = parts
  }

  /** Requests that are not answered to the last byte. */
  get size(): number {
    return this.#requests.size
  }

  /** @param doors what pages may ask, and are told */
  handle(
    request: SqlRequest,
    response: SqlResponse,
    { caller, doors }: { caller: Caller; doors: Doors },
  ): void {
    const { method = '', url = '' } = request
    const id = randomUuid()
    const { headers } = request
    const common = commonHeaders(id, doors.cors(caller.origin))
    const handled = new Request({ request, caller, id, door: this.#parts, typesOf: this.#typesOf })
    const reply = new Reply(response, common, handled)
    handled.reply = reply
    const path = pathOf(url)
    if (path !== '/sql')
      reply.refuse(problem(404, '08P01', 'not found: WebSocket on any path, and POST /sql, are here'))
    else if (method === 'OPTIONS') {
      const answer = doors.preflight(headers)
      this.#parts.house.counters.http.answered(answer.status)
      preflight(response, common, answer)
    } else if (method !== 'POST') {
      common.allow = 'OPTIONS, POST'
      reply.refuse(problem(405, '08P01', `${method} is not answered here: send POST /sql`))
    } else {
      this.#requests.add(handled)
      response.on('close', () => {
        this.#requests.delete(handled)
        handled.closed()
        reply.closed()
      })
      handled.start()
    }
  }

  /** Time has passed. */
  tick(now: number): void {
    for (const request of this.#requests) request.tick(now)
  }

  readonly #typesOf = (database: string): TypeTable => {
    let types = this.#types.get(database)
    if (types === undefined) {
      if (this.#types.size >= DATABASES_MAX) this.#types.clear()
      types = new TypeTable()
      this.#types.set(database, types)
    }
    return types
  }
}

function commonHeaders(id: string, cors: Readonly<Record<string, string>>): Record<string, string | number> {
  const headers: Record<string, string | number> = {
    'content-type': 'application/json',
    'cache-control': 'no-store',
    'neon-request-id': id,
  }
  for (const name in cors) headers[name] = cors[name]!
  return headers
}

function pathOf(url: string): string {
  const query = url.indexOf('?')
  return query < 0 ? url : url.slice(0, query)
}

function preflight(
  response: SqlResponse,
  headers: Record<string, string | number>,
  answer: ReturnType<Doors['preflight']>,
): void {
  const { 'content-type': _, ...rest } = headers
  response.writeHead(answer.status, { ...rest, ...answer.headers, 'content-length': 0 })
  response.end()
}
