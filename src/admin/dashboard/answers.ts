// How the dashboard answers: the headers that keep a page from doing what it should not, JSON, and refusals
// in words. It decides nothing.
import type { HttpRequest, HttpResponse } from '../../net/http.ts'
import type { Page } from './pages.ts'

/** Only files of ours run, nothing is sent elsewhere, and no other page may frame this one. */
const POLICY = [
  "default-src 'none'",
  "script-src 'self'",
  "style-src 'self'",
  "connect-src 'self'",
  "img-src 'self' data:",
  "base-uri 'none'",
  "form-action 'none'",
  "frame-ancestors 'none'",
].join('; ')

const SAFE: Readonly<Record<string, string>> = {
  'content-security-policy': POLICY,
  'x-content-type-options': 'nosniff',
  'referrer-policy': 'no-referrer',
  'cross-origin-resource-policy': 'same-origin',
  'cross-origin-opener-policy': 'same-origin',
}

/** A request that is not done, and why. */
export class Refused extends Error {
  readonly status: number
  readonly headers: Readonly<Record<string, string>>
  /** Besides the sentence. */
  readonly fields: Readonly<Record<string, unknown>>

  constructor(
    status: number,
    sentence: string,
    more: { headers?: Record<string, string>; fields?: Record<string, unknown> } = {},
  ) {
    super(sentence)
    this.status = status
    this.headers = more.headers ?? {}
    this.fields = more.fields ?? {}
  }
}

export interface Said {
  readonly status?: number
  readonly headers?: Readonly<Record<string, string>>
}

export function sendJson(
  request: HttpRequest,
  response: HttpResponse,
  value: object,
  { status = 200, headers = {} }: Said = {},
): void {
  const body = `${JSON.stringify(value)}\n`
  const type = { 'content-type': 'application/json; charset=utf-8', 'cache-control': 'no-store' }
  response.writeHead(status, { ...SAFE, ...type, 'content-length': Buffer.byteLength(body), ...headers })
  response.end(request.method === 'HEAD' ? undefined : body)
}

export function sendRefusal(request: HttpRequest, response: HttpResponse, refused: Refused): void {
  const { status, headers, fields, message } = refused
  // What is left of its body is not read: the connection ends with the answer.
  const closes = request.complete ? {} : { connection: 'close' }
  sendJson(request, response, { error: message, ...fields }, { status, headers: { ...headers, ...closes } })
}

/** A file of the page; nothing of it where the browser has it already. */
export function sendPage(request: HttpRequest, response: HttpResponse, page: Page): void {
  const { type, bytes, etag } = page
  const known = request.headers['if-none-match'] ?? ''
  const headers = { ...SAFE, etag, 'cache-control': 'no-cache' }
  if (known.split(/\s*,\s*/).includes(etag)) {
    response.writeHead(304, headers)
    response.end()
    return
  }
  response.writeHead(200, { ...headers, 'content-type': type, 'content-length': bytes.length })
  response.end(request.method === 'HEAD' ? undefined : bytes)
}

/** The head of a stream of events. */
export function beginEvents(response: HttpResponse): void {
  const type = { 'content-type': 'text/event-stream; charset=utf-8', 'cache-control': 'no-store' }
  response.writeHead(200, { ...SAFE, ...type, connection: 'close', 'x-accel-buffering': 'no' })
}
