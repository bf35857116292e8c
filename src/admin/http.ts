// What the admin port answers: metrics for Prometheus, and whether this process lives and is ready, for
// whoever restarts it or sends it traffic. Changes nothing and shows no secret; the socket belongs to net/.

/** The part of an HTTP request that is looked at (node:http's IncomingMessage has it). */
export interface AdminRequest {
  readonly method?: string | undefined
  readonly url?: string | undefined
}

/** The part of an HTTP response that is used (node:http's ServerResponse has it). */
export interface AdminResponse {
  writeHead(status: number, headers: Record<string, string | number>): unknown
  end(body?: string): unknown
}

interface Readiness {
  readonly ok: boolean
  readonly reason: string
}

/** What the handler asks the pooler. */
export interface AdminSource {
  /** Prometheus' text format. */
  metrics(): Promise<string>
  /** Whether a client could get a server now; `reason` says why not. */
  ready(): Readiness | Promise<Readiness>
}

interface Answer {
  status: number
  type: string
  body: string
}

const JSON_TYPE = 'application/json; charset=utf-8'
const METRICS_TYPE = 'text/plain; version=0.0.4; charset=utf-8'

/** The request handler of the admin port. It answers every request and never throws. */
export function adminHandler(source: AdminSource): (request: AdminRequest, response: AdminResponse) => void {
  return (request, response) => {
    const method = request.method ?? ''
    if (method !== 'GET' && method !== 'HEAD') {
      send(response, json(405, { error: 'only GET and HEAD are answered here' }), { method, allow: true })
      return
    }
    answer(source, pathOf(request.url ?? '/')).then(
      (found) => send(response, found, { method, allow: false }),
      () =>
        send(response, json(500, { error: 'the metrics could not be collected' }), { method, allow: false }),
    )
  }
}

async function answer(source: AdminSource, path: string): Promise<Answer> {
  if (path === '/metrics') return { status: 200, type: METRICS_TYPE, body: await source.metrics() }
  if (path === '/healthz') return json(200, { ok: true })
  if (path === '/readyz') {
    const { ok, reason } = await source.ready()
    return ok ? json(200, { ok }) : json(503, { ok, reason })
  }
  return json(404, { error: 'not found: /metrics, /healthz and /readyz are here' })
}

/** The path of a request, without what is asked behind it. */
export function pathOf(url: string): string {
  const query = url.indexOf('?')
  return query < 0 ? url : url.slice(0, query)
}

function json(status: number, value: object): Answer {
  return { status, type: JSON_TYPE, body: `${JSON.stringify(value)}\n` }
}

function send(response: AdminResponse, found: Answer, how: { method: string; allow: boolean }): void {
  const headers: Record<string, string | number> = {
    'content-type': found.type,
    'content-length': Buffer.byteLength(found.body),
    'cache-control': 'no-store',
    'x-content-type-options': 'nosniff',
  }
  if (how.allow) headers.allow = 'GET, HEAD'
  response.writeHead(found.status, headers)
  response.end(how.method === 'HEAD' ? undefined : found.body)
}
