// What a connection may ask for in front of its startup packet: TLS, by request or at once, and GSSAPI. It
// answers these wishes and starts TLS; it reads nothing behind them, and ends no connection itself.
import type { Refusal } from '../pool/types.ts'
import type { SecurableStream } from '../wire/byte-stream.ts'
import { unsupportedProtocol } from '../wire/startup.ts'
import { badCertificate, unencrypted } from './refusals.ts'
import type { House } from './types.ts'
import type { Entrance } from './web-entrance.ts'

const SSL_YES = Buffer.from('S')
const NO = Buffer.from('N')

export interface EncryptionParts {
  readonly stream: SecurableStream
  readonly house: House
  /** What opened its WebSocket; null: it came in without one. */
  readonly entrance: Entrance | null
  onRefused(refusal: Refusal): void
  /** TLS is wished for where there is none: it could not read an answer. */
  onImpossible(): void
  /** The handshake has failed; the stream is being destroyed. */
  onFailed(message: string): void
}

export class Encryption {
  readonly #parts: EncryptionParts
  #askedTls = false
  #askedGss = false

  constructor(parts: EncryptionParts) {
    this.#parts = parts
  }

  /** A TLS handshake that nobody asked for begins with these bytes. */
  onDirectTls(early: Buffer): void {
    const { stream, house, onImpossible } = this.#parts
    if (house.tls === null || stream.peer.kind === 'unix' || this.#isInTls) {
      onImpossible()
      return
    }
    this.#askedTls = true
    this.#secure(early)
  }

  /** @param behind what came behind the request. @returns whether packets may be read on */
  onSslRequest(behind: Buffer): boolean {
    const { stream, house, entrance, onRefused } = this.#parts
    if (this.#isInTls) {
      this.#refuseVersion(5679)
      return false
    }
    this.#askedTls = true
    if (house.tls === null || stream.peer.kind === 'unix') {
      stream.write(NO)
      return true
    }
    if (behind.length > 0) {
      // CVE-2021-23214: what was sent in the clear must not count as said inside TLS. Where it is given to
      // the handshake it does not.
      if (entrance?.pipelinedTls !== true || stream.unread === undefined) {
        onRefused(unencrypted('SSL'))
        return false
      }
      stream.unread(behind)
    }
    stream.write(SSL_YES)
    this.#secure(null)
    return false
  }

  /** @param behind what came behind the request. @returns whether packets may be read on */
  onGssRequest(behind: Buffer): boolean {
    if (this.#askedGss) {
      this.#refuseVersion(5680)
      return false
    }
    if (behind.length > 0) {
      this.#parts.onRefused(unencrypted('GSSAPI encryption'))
      return false
    }
    this.#askedGss = true
    this.#parts.stream.write(NO)
    return true
  }

  /** Inside a WebSocket with TLS there may be TLS again: tunnels do not know what they carry. */
  get #isInTls(): boolean {
    const { stream, entrance } = this.#parts
    return this.#askedTls || (entrance === null && stream.peer.encrypted)
  }

  #refuseVersion(minor: number): void {
    const { code, message } = unsupportedProtocol(1234, minor)
    this.#parts.onRefused({ severity: 'FATAL', code, message, reason: 'bad_startup' })
  }

  #secure(early: Buffer | null): void {
    const { stream, house, onFailed, onRefused } = this.#parts
    if (house.tls === null) return
    stream.secure(house.tls, early, (error) => {
      // As in Postgres a certificate that is not believed ends it, whoever asks for one; but in words.
      const problem = stream.peer.tls?.certificateProblem ?? ''
      const isWell = error === null && problem === ''
      house.counters.tlsHandshakes.add(['clients', isWell ? 'ok' : 'failed'])
      if (error !== null) onFailed(error.message)
      else if (problem !== '') onRefused(badCertificate(problem))
    })
  }
}
