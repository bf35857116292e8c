// Owns: the secrets that tests have given to poolers of this process, and whether one of them has come out:
// in the log, an error, the metrics. Must never complain of a word that a test uses for other things too.
import assert from 'node:assert/strict'
import { inspect } from 'node:util'

/** Shorter ones are words that come up by themselves. */
const LENGTH_MIN = 8
/** Secrets looked for; the oldest gives way. */
const SECRETS_MAX = 200
/** Levels of a field that are looked through. */
const DEPTH_MAX = 6
/** Characters of what was put out that a failure shows. */
const SHOWN_MAX = 400

const known = new Map<string, string>()
const found: string[] = []

/** From now on this must not come out. `what` says in a failure what it was; never the secret. */
export function isSecret(what: string, secret: string | Uint8Array | null | undefined): void {
  if (secret === null || secret === undefined) return
  const bytes = Buffer.from(secret)
  if (bytes.length < LENGTH_MIN) return
  const forms = [bytes.toString('hex'), bytes.toString('base64')]
  if (typeof secret === 'string') forms.push(secret, encodeURIComponent(secret))
  for (const form of forms) known.set(form, what)
  for (const oldest of known.keys()) {
    if (known.size <= SECRETS_MAX * 4) return
    known.delete(oldest)
  }
}

/** What is a name as well as a password cannot be told apart. */
export function isName(name: string): void {
  known.delete(name)
  known.delete(encodeURIComponent(name))
}

/** Looks through something that a pooler has put out. What it finds is told by `assertNoneOut`. */
export function lookThrough(where: string, output: unknown): void {
  if (known.size === 0) return
  const text = typeof output === 'string' ? output : flat(output, 0)
  for (const [secret, what] of known) {
    if (!text.includes(secret)) continue
    found.push(`${what} in ${where}: ${masked(text).slice(0, SHOWN_MAX)}`)
  }
}

/** What is shown of it must not be the next place where they come out. */
function masked(text: string): string {
  let shown = text
  for (const secret of known.keys()) shown = shown.replaceAll(secret, '***')
  return shown
}

/** @throws AssertionError if a secret has come out since the last call, with the place */
export function assertNoneOut(): void {
  const leaks = found.splice(0)
  assert.deepEqual(leaks, [], 'secrets have come out')
}

/** All text in a value, bytes in the two ways in which they are usually written. */
function flat(value: unknown, depth: number): string {
  if (typeof value === 'string') return value
  if (typeof value !== 'object' || value === null) return String(value)
  if (value instanceof Uint8Array) {
    const bytes = Buffer.from(value)
    return `${bytes.toString('latin1')} ${bytes.toString('hex')} ${bytes.toString('base64')}`
  }
  if (value instanceof Error) return `${inspect(value)} ${flat({ ...value }, depth + 1)}`
  if (depth > DEPTH_MAX) return inspect(value)
  const entries = value instanceof Map ? [...value] : Object.entries(value)
  return entries.map(([key, one]) => `${flat(key, depth + 1)} ${flat(one, depth + 1)}`).join('\n')
}
