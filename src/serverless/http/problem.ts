// What a request is told when it gets no result: a status and a JSON object. Owns these shapes and the
// words for requests that are refused before a statement runs. Pure.
import type { Refusal } from '../../pool/types.ts'

/** The members of an error, in the order in which drivers know them, and the letter that Postgres sends. */
const MEMBERS: readonly (readonly [member: string, letter: string])[] = [
  ['message', 'M'],
  ['code', 'C'],
  ['detail', 'D'],
  ['hint', 'H'],
  ['position', 'P'],
  ['internalPosition', 'p'],
  ['internalQuery', 'q'],
  ['severity', 'S'],
  ['where', 'W'],
  ['table', 't'],
  ['column', 'c'],
  ['schema', 's'],
  ['dataType', 'd'],
  ['constraint', 'n'],
  ['file', 'F'],
  ['line', 'L'],
  ['routine', 'R'],
]
const HEADER = 5
const RETRY_AFTER = 1

/** An answer that is no result. */
export interface Problem {
  readonly status: number
  readonly body: Readonly<Record<string, string | number | null>>
  /** Seconds; 0: another try makes no sense. */
  readonly retryAfter: number
}

/** What is thrown where a request cannot be read. */
export class RequestError extends Error {
  readonly problem: Problem

  constructor(problem: Problem) {
    super(String(problem.body.message))
    this.problem = problem
  }
}

function spelled(fields: ReadonlyMap<string, string>): Record<string, string | null> {
  const body: Record<string, string | null> = {}
  for (const [member, letter] of MEMBERS) {
    const value = fields.get(letter)
    body[member] = value === undefined || value === '' ? null : value
  }
  body.message ??= 'Postgres gave no reason'
  return body
}

/** A problem of our own. */
export function problem(status: number, code: string, message: string, hint = ''): Problem {
  const fields = new Map([
    ['M', message],
    ['C', code],
    ['H', hint],
    ['S', 'ERROR'],
  ])
  return { status, body: spelled(fields), retryAfter: 0 }
}

/** The request itself is wrong. */
export function badRequest(message: string, code = '08P01', hint = ''): RequestError {
  return new RequestError(problem(400, code, message, hint))
}

export function tooLarge(max: number): Problem {
  const hint = 'Send less at once, or raise serverless.max_request.'
  return problem(413, '54000', `request is too large (max is ${max} bytes)`, hint)
}

export function answerTooLarge(max: number): Problem {
  const hint = 'Ask for fewer rows at once, or raise serverless.max_response.'
  return problem(507, '54000', `response is too large (max is ${max} bytes)`, hint)
}

export function noCopy(): Problem {
  const hint = 'Use a WebSocket or TCP connection for COPY.'
  return problem(400, '0A000', 'COPY is not supported over HTTP', hint)
}

export function noTransactionControl(index: number): Problem {
  const message = 'a statement of a batch may not begin or end its transaction'
  const hint = 'The batch is one transaction: leave BEGIN, COMMIT and ROLLBACK out of it.'
  const found = problem(400, '2D000', message, hint)
  return { ...found, body: { ...found.body, queryIndex: index } }
}

export function timedOut(): Problem {
  const hint = 'Raise serverless.query_timeout, or make the query quicker.'
  return problem(400, '57014', 'canceling statement due to serverless.query_timeout', hint)
}

export function notUtf8(): Problem {
  const hint = 'Leave client_encoding alone; the texts of a database in SQL_ASCII may be of any encoding.'
  return problem(400, '22021', 'the result is not valid UTF-8, which JSON needs', hint)
}

/** An ErrorResponse of Postgres, or of ours in its form. @param index of the query of a batch that failed */
export function problemOf(bytes: Buffer, index: number | null): Problem {
  const fields = new Map<string, string>()
  for (let at = HEADER; at < bytes.length && bytes[at] !== 0; ) {
    const found = bytes.indexOf(0, at + 1)
    const end = found < 0 ? bytes.length : found
    const letter = String.fromCharCode(bytes[at])
    if (!fields.has(letter)) fields.set(letter, bytes.toString('utf8', at + 1, end))
    at = end + 1
  }
  const body = spelled(fields)
  return { status: 400, body: index === null ? body : { ...body, queryIndex: index }, retryAfter: 0 }
}

/** A refusal of the pooler, for a request of which nothing has run. */
export function refused(refusal: Refusal): Problem {
  const { severity, code, message, detail = '', hint = '' } = refusal
  const fields = new Map([
    ['M', message],
    ['C', code],
    ['D', detail],
    ['H', hint],
    ['S', severity],
  ])
  const isOver = mayPass(code)
  return { status: isOver ? 503 : 400, body: spelled(fields), retryAfter: isOver ? RETRY_AFTER : 0 }
}

/** Too many of something, or Postgres is not there: another try may find it otherwise. */
function mayPass(code: string): boolean {
  return code.startsWith('53') || code.startsWith('08') || /^57P0[1235]$/.test(code)
}
