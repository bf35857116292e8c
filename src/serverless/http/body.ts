// The body of a request: JSON to statements with their parameters. Pure. It refuses what is too deep, too
// many or of the wrong kind, and never passes on a value otherwise than it was sent.
import { isUtf8 } from 'node:buffer'
import { checked, hasNumbers, type Json, parseLossless, textOf } from './parameters.ts'
import { badRequest } from './problem.ts'

/** One statement. */
export interface Statement {
  readonly text: string
  /** Null: SQL NULL. */
  readonly parameters: readonly (string | null)[]
  /** Null: as the header says. */
  readonly isArrayMode: boolean | null
}

export interface Body {
  readonly statements: readonly Statement[]
  readonly isBatch: boolean
}

/** What counts that a message of Postgres can hold. */
export const PARAMETERS_MAX = 65_535
/** Values that lie deeper than this in each other are no parameters of anybody. */
const DEPTH_MAX = 200
const WHERE = 'could not parse the HTTP request body'
const QUOTE = 0x22
const BACKSLASH = 0x5c

/** @throws RequestError with status 400 */
export function parseBody(bytes: Buffer, maxQueries: number): Body {
  if (!isUtf8(bytes)) throw badRequest(`${WHERE}: it is not valid UTF-8`)
  if (isTooDeep(bytes)) throw badRequest(`${WHERE}: it is nested deeper than ${DEPTH_MAX} levels`, '54001')
  const text = bytes.toString('utf8')
  let body = parsed(text, JSON.parse)
  if (asksForDigits(body)) body = parsed(text, parseLossless)
  if (!isObject(body)) throw badRequest(`${WHERE}: it is not an object`, '08P01', FORM)
  const { query, queries } = body
  if (query !== undefined) return { statements: [statementOf(body, '')], isBatch: false }
  if (queries === undefined) throw badRequest(`${WHERE}: "query" or "queries" is missing`, '08P01', FORM)
  if (!Array.isArray(queries)) throw badRequest(`${WHERE}: "queries" is not an array`, '08P01', FORM)
  if (queries.length > maxQueries) {
    const hint = 'Send several batches, or raise serverless.max_queries.'
    throw badRequest(`a batch may have ${maxQueries} queries, not ${queries.length}`, '54000', hint)
  }
  const statements = queries.map((item, place) => statementOf(item, ` in queries[${place}]`))
  return { statements, isBatch: true }
}

const FORM = 'Send {"query": "select $1", "params": ["1"]}, or {"queries": [...]}.'

function parsed(text: string, parse: (text: string) => Json): Json {
  try {
    return parse(text)
  } catch {
    // Its words would repeat what stands there.
    throw badRequest(`${WHERE}: it is not valid JSON`, '08P01', FORM)
  }
}

/** Brackets within brackets, outside strings. */
function isTooDeep(bytes: Buffer): boolean {
  let depth = 0
  for (let at = 0; at < bytes.length; at++) {
    switch (bytes[at]) {
      case QUOTE:
        for (at++; at < bytes.length && bytes[at] !== QUOTE; at++) if (bytes[at] === BACKSLASH) at++
        break
      case 0x5b:
      case 0x7b:
        if (++depth > DEPTH_MAX) return true
        break
      case 0x5d:
      case 0x7d:
        depth--
        break
      default:
    }
  }
  return false
}

/** Drivers send strings and nulls only: most bodies are read once. */
function asksForDigits(body: Json): boolean {
  if (!isObject(body)) return false
  if (Array.isArray(body.params) && body.params.some(hasNumbers)) return true
  const { queries } = body
  if (!Array.isArray(queries)) return false
  return queries.some((item) => isObject(item) && Array.isArray(item.params) && item.params.some(hasNumbers))
}

function isObject(value: Json): value is { [key: string]: Json } {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}

function statementOf(item: Json, where: string): Statement {
  if (!isObject(item)) throw badRequest(`${WHERE}: no object${where}`, '08P01', FORM)
  const { query, params = null, arrayMode = null } = item
  if (typeof query !== 'string') throw badRequest(`${WHERE}: "query" is not a string${where}`, '08P01', FORM)
  if (params !== null && !Array.isArray(params))
    throw badRequest(`${WHERE}: "params" is not an array${where}`, '08P01', FORM)
  if (arrayMode !== null && typeof arrayMode !== 'boolean')
    throw badRequest(`${WHERE}: "arrayMode" is neither true nor false${where}`, '08P01', FORM)
  const count = params?.length ?? 0
  if (count > PARAMETERS_MAX) {
    const hint = 'Send an array as one parameter, and unnest() it.'
    throw badRequest(`a statement may have ${PARAMETERS_MAX} parameters, not ${count}${where}`, '54000', hint)
  }
  return {
    text: checked(query),
    parameters: params === null ? [] : params.map(textOf),
    isArrayMode: arrayMode,
  }
}
