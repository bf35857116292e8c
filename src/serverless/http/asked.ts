// What the headers of a request ask for: whose login, how values are to look, which modes a batch has. It
// owns the memory of those headers that many requests share.
import type { RequestHeaders } from '../doors.ts'
import type { Target } from './connection-string.ts'
import { type BatchOptions, batchOptions } from './control.ts'
import { badRequest } from './problem.ts'
import { targetOf } from './remembered.ts'

export interface Wishes {
  readonly isRaw: boolean
  readonly isArrayMode: boolean
  readonly batch: BatchOptions
}

export interface Asked extends Wishes {
  readonly target: Target & { readonly token: string | null }
}

/** Of a request whose headers have not been read. */
export const NO_WISHES: Wishes = {
  isRaw: true,
  isArrayMode: true,
  batch: { isolation: '', isReadOnly: false, isDeferrable: false },
}

const NO_TARGET = 'Send Neon-Connection-String: postgresql://user:password@host/database as a header.'
const BEARER = /^Bearer +(\S+) *$/i
/** For as long as a connection has these headers. They hold passwords, and are shown to nobody. */
const known = new WeakMap<RequestHeaders, Asked>()

/**
 * @param areShared the same object is given for each request with the same headers
 * @throws RequestError with status 400
 */
export function askedBy(headers: RequestHeaders, areShared: boolean): Asked {
  const before = areShared ? known.get(headers) : undefined
  if (before !== undefined) return before
  const header = (name: string): string => {
    const value = headers[name]
    return typeof value === 'string' ? value : ''
  }
  const asked = {
    target: targetIn(header),
    isRaw: header('neon-raw-text-output') === 'true',
    isArrayMode: header('neon-array-mode') === 'true',
    batch: batchOptions(header),
  }
  if (areShared) known.set(headers, asked)
  return asked
}

function targetIn(header: (name: string) => string): Asked['target'] {
  const text = header('neon-connection-string')
  if (text === '') throw badRequest('invalid header: neon-connection-string', '08P01', NO_TARGET)
  const target = targetOf(text)
  const token = BEARER.exec(header('authorization'))?.[1] ?? null
  if (target.user === '' && token === null && target.password === null)
    throw badRequest('invalid connection string: missing username')
  return { ...target, token }
}
