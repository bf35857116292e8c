// What the tests of authentication share: chance that can be foretold, verifiers, and two machines that talk.
import { createHash, pbkdf2Sync } from 'node:crypto'
import type {
  ClientAuth,
  ClientAuthOutcome,
  ClientAuthStep,
  ClientLogin,
} from '../../../src/auth/client-auth.ts'
import { keysOfSaltedPassword, sha256 } from '../../../src/auth/scram-keys.ts'
import type { Line, ServerAuth, ServerAuthOutcome, ServerAuthStep } from '../../../src/auth/server-auth.ts'
import { preparePassword } from '../../../src/auth/saslprep.ts'
import type { ScramSecret } from '../../../src/auth/secrets.ts'
import type { Random } from '../../../src/util/env.ts'

/** A connection to Postgres on this machine, without TLS. */
export const LINE: Line = {
  isEncrypted: false,
  isConfidential: true,
  isProven: false,
  endPoint: null,
  channelBinding: 'prefer',
}

/** From this machine, and from another one without TLS. */
export const LOCAL = connection({ loopback: true })
export const REMOTE = connection({ loopback: false })

/** What a login knows of its connection, where nobody asks for a certificate. */
export function connection(
  channel: Partial<ClientLogin['channel']>,
): Omit<ClientLogin, 'user' | 'method' | 'secret'> {
  const none = { loopback: false, encrypted: false, endPoint: null }
  return { channel: { ...none, ...channel }, certificate: 'not asked', trustsAnywhere: false }
}

/** Chance that repeats with its seed. */
export function seeded(seed: string): Random {
  let count = 0
  const block = () => createHash('sha512').update(`${seed}:${count++}`).digest()
  return {
    next: () => block().readUInt32BE(0) / 2 ** 32,
    bytes: (length) =>
      Buffer.concat(Array.from({ length: Math.ceil(length / 64) }, block)).subarray(0, length),
  }
}

/** The verifier that Postgres would store. */
export function verifier(
  password: string,
  salt = Buffer.from('0123456789abcdef'),
  iterations = 4096,
): ScramSecret {
  const salted = pbkdf2Sync(preparePassword(password), salt, iterations, 32, 'sha256')
  const { clientKey, serverKey } = keysOfSaltedPassword(salted)
  return { kind: 'scram', iterations, salt, storedKey: sha256(clientKey), serverKey }
}

/** The bodies of the messages in a buffer, with their types. */
export function messages(buffer: Buffer): { type: string; body: Buffer }[] {
  const found = []
  for (let at = 0; at < buffer.length; ) {
    const end = at + 1 + buffer.readUInt32BE(at + 1)
    found.push({ type: String.fromCharCode(buffer[at]), body: buffer.subarray(at + 5, end) })
    at = end
  }
  return found
}

export async function settledClient(step: ClientAuthStep): Promise<ClientAuthOutcome> {
  return step.kind === 'wait' ? await step.outcome : step
}

export async function settledServer(step: ServerAuthStep): Promise<ServerAuthOutcome> {
  return step.kind === 'wait' ? await step.outcome : step
}

export interface Conversation {
  /** The verdict of the side that plays Postgres. */
  frontend: ClientAuthOutcome
  /** The last outcome of the side that logs in; null before it was asked anything. */
  backend: ServerAuthOutcome | null
  /** Types and lengths of the bodies, in order, of both directions. */
  shape: string[]
}

/** Lets our server side and our client side log in to each other. */
export async function converse(frontend: ClientAuth, backend: ServerAuth): Promise<Conversation> {
  const shape: string[] = []
  let outcome = frontend.begin()
  let answer: ServerAuthOutcome | null = null
  while (outcome.kind !== 'failure') {
    for (const { type, body } of messages(outcome.messages)) {
      shape.push(`${type}${body.readUInt32BE(0)}:${body.length}`)
      answer = await settledServer(backend.receive(body))
      if (answer.kind === 'error') return { frontend: outcome, backend: answer, shape }
    }
    if (outcome.kind === 'success' || answer?.kind !== 'reply') break
    const body = messages(answer.bytes)[0].body
    shape.push(`p:${body.length}`)
    outcome = await settledClient(frontend.receive(body))
  }
  return { frontend: outcome, backend: answer, shape }
}
