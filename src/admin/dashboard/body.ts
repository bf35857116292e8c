// The body of what is posted: JSON of an object, and not much of it. It owns nothing.
import type { HttpRequest } from '../../net/http.ts'
import { Refused } from './answers.ts'

const BODY_MAX = 16 * 1024

/** @throws Refused for what is no short JSON object; an Error where the sender has gone */
export async function readObject(request: HttpRequest): Promise<Readonly<Record<string, unknown>>> {
  const chunks: Buffer[] = []
  let total = 0
  for await (const chunk of request as AsyncIterable<Buffer>) {
    total += chunk.length
    if (total > BODY_MAX) throw new Refused(413, `a body may have ${BODY_MAX} bytes`)
    chunks.push(chunk)
  }
  const value = parsed(Buffer.concat(chunks).toString('utf8'))
  if (typeof value === 'object' && value !== null && !Array.isArray(value))
    return value as Readonly<Record<string, unknown>>
  throw new Refused(400, 'the body must be a JSON object')
}

function parsed(text: string): unknown {
  try {
    return JSON.parse(text)
  } catch {
    return null
  }
}

/** A text of the object; '' where it is absent. @throws Refused */
export function textOf(object: Readonly<Record<string, unknown>>, name: string): string {
  const value = Object.hasOwn(object, name) ? object[name] : ''
  if (typeof value === 'string' && !value.includes('\0')) return value
  throw new Refused(400, `${name} must be a text`)
}
