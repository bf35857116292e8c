// What is different for a client that comes in over a WebSocket: it says its password and its first query
// before it is asked, and needs time to read a refusal. It owns no stream.
import type { Gate } from '../auth/access.ts'
import { type AuthFailure, failure } from '../auth/failure.ts'
import type { Refusal } from '../pool/types.ts'
import type { ByteStream, PeerInfo, StreamHandler } from '../wire/byte-stream.ts'
import { FromClient } from '../wire/protocol.ts'

/** How long a client that was refused may take to say goodbye. */
export const FAREWELL_MS = 5000
/** The close code of a WebSocket for which there is no place at present (RFC 6455, 1013). */
export const TRY_AGAIN_LATER = 1013
const TERMINATE = Buffer.from([FromClient.Terminate, 0, 0, 0, 4])
const HEADER = 5

/** What the request that opened a WebSocket has said. */
export interface Entrance {
  /** A TLS handshake right behind its SSLRequest is taken. */
  readonly pipelinedTls: boolean
  /** The database that `?address=` stands for; null: it is the startup packet that names it. */
  readonly database: string | null
  /** What `?address=` says where that is in no list. */
  readonly unknownAddress: string | null
}

/** May its password be read on the way to us only by those who may read everything? */
export function takesPasswords({ encrypted, web }: PeerInfo): boolean {
  return encrypted || web?.takesPasswords === true
}

/**
 * Over a WebSocket a password is asked for as it is, where the way is safe: drivers have sent it already, and
 * have no second one to spare for a dialogue.
 */
export function webGate(gate: Gate, peer: PeerInfo): Gate {
  const asks = gate.method === 'scram-sha-256' || gate.method === 'md5'
  return asks && takesPasswords(peer) ? { ...gate, method: 'password' } : gate
}

/** Whether the body of a password message is no answer to SCRAM or md5. */
export function isInClear(body: Buffer): boolean {
  return !/^(SCRAM-SHA-256(-PLUS)?\0|md5[0-9a-f]{32}\0$)/.test(body.toString('latin1'))
}

/** A password came in the clear where it must not: not what is wrong with it as an answer is told. */
export function passwordInClear(): AuthFailure {
  return failure(
    '28000',
    'cleartext passwords are refused on an unencrypted WebSocket; ' +
      'use wss or set neonConfig.pipelineConnect = false',
  )
}

export function unknownAddress(address: string): Refusal {
  return {
    severity: 'FATAL',
    code: '08004',
    message: `address "${address.slice(0, 200)}" is not served here`,
    hint: 'Use an address of serverless.addresses, or leave ?address= out.',
    reason: 'unknown_address',
  }
}

/** Hears whether a client that was refused says goodbye, in whatever pieces. All else is dropped. */
export class Goodbye {
  #tail: Buffer = Buffer.alloc(0)

  /** @returns whether this chunk ends in a Terminate message */
  hears(chunk: Buffer): boolean {
    this.#tail = Buffer.concat([this.#tail, chunk.subarray(-TERMINATE.length)]).subarray(-TERMINATE.length)
    return this.#tail.equals(TERMINATE)
  }
}

/**
 * Where no password is asked for, drivers send one nevertheless. It stands in front of a client's owner,
 * drops one password message if that is what comes first, and leaves.
 */
export class StrayPassword implements StreamHandler {
  readonly #stream: ByteStream
  readonly #owner: StreamHandler
  #header: Buffer = Buffer.alloc(0)
  /** Of the message that is dropped; -1: its header is not here yet. */
  #left = -1

  constructor(stream: ByteStream, owner: StreamHandler) {
    this.#stream = stream
    this.#owner = owner
  }

  onData(chunk: Buffer): void {
    let rest = chunk
    if (this.#left < 0) {
      const bytes = this.#header.length === 0 ? chunk : Buffer.concat([this.#header, chunk])
      if (bytes[0] !== FromClient.Password) {
        this.#leave(bytes)
        return
      }
      if (bytes.length < HEADER) {
        this.#header = Buffer.from(bytes)
        return
      }
      const length = bytes.readInt32BE(1)
      if (length < 4 || length > PASSWORD_MAX) {
        // The owner says what is wrong with it.
        this.#leave(bytes)
        return
      }
      this.#left = length + 1
      rest = bytes
    }
    const dropped = Math.min(this.#left, rest.length)
    this.#left -= dropped
    if (this.#left === 0) this.#leave(rest.subarray(dropped))
  }

  onDrain(): void {
    this.#owner.onDrain()
  }

  onEnd(): void {
    this.#owner.onEnd()
  }

  onClose(reason: string): void {
    this.#owner.onClose(reason)
  }

  #leave(rest: Buffer): void {
    this.#stream.handler = this.#owner
    if (rest.length > 0) this.#owner.onData(rest)
  }
}

const PASSWORD_MAX = 64 * 1024
