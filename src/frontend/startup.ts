// A connection before its login: TLS, startup packet, cancel request, authentication. It owns the stream
// until it becomes a Client or closes. Nothing it says reaches a pool or a server before it is authenticated.
import type { Arrival } from '../auth/access.ts'
import type { AuthFailure } from '../auth/failure.ts'
import type { Refusal } from '../pool/types.ts'
import type { SecurableStream, StreamHandler } from '../wire/byte-stream.ts'
import { errorResponse } from '../wire/error-response.ts'
import { negotiateProtocolVersion } from '../wire/messages.ts'
import {
  LATEST_MINOR,
  peekStartup,
  type StartupRequest,
  toText,
  unsupportedProtocol,
} from '../wire/startup.ts'
import { KEY_LONG, KEY_SHORT } from './cancel-keys.ts'
import { aliasesOf, isConsole } from './console-door.ts'
import { Entry } from './entry.ts'
import { badCertificate, badReplication, shuttingDown, timedOut, tlsFailed } from './refusals.ts'
import { Proof } from './proof.ts'
import { replicationOf } from './replication.ts'
import type { House, Visitor } from './types.ts'

const SSL_YES = Buffer.from('S')
const NO = Buffer.from('N')
const EMPTY = Buffer.alloc(0)

export class Startup implements StreamHandler {
  /** An object of its own: it outlives the login, which must not be kept for it. */
  #visitor: Visitor
  readonly #stream: SecurableStream
  readonly #house: House
  readonly #deadline: number
  #bytes: Buffer = EMPTY
  #askedTls = false
  #askedGss = false
  #request: StartupRequest | null = null
  #proof: Proof | null = null
  #isAdmitted = false
  #hasLoggedIn = false
  #entry: Entry | null = null
  #isOver = false

  constructor(stream: SecurableStream, house: House) {
    this.#stream = stream
    this.#house = house
    this.#visitor = { address: stream.peer.address, user: '', database: '' }
    const limit = house.limits.loginTimeoutMs
    this.#deadline = limit > 0 ? house.time.now + limit : Number.POSITIVE_INFINITY
  }

  get address(): string {
    return this.#visitor.address
  }

  onData(chunk: Buffer): void {
    if (this.#isOver) return
    if (this.#entry !== null) {
      this.#entry.onEarlyData(chunk)
      return
    }
    if (this.#proof !== null) {
      this.#proof.onData(chunk)
      return
    }
    this.#bytes = this.#bytes.length === 0 ? Buffer.from(chunk) : Buffer.concat([this.#bytes, chunk])
    this.#readPackets()
  }

  onDrain(): void {}

  onEnd(): void {
    this.#over('the client closed the connection before it had logged in')
    this.#stream.end()
  }

  onClose(reason: string): void {
    this.#over(reason)
  }

  /** Time has passed. */
  tick(now: number): void {
    if (now > this.#deadline) this.#refuse(timedOut('login'))
    else this.#entry?.tick(now)
  }

  /** Something went wrong with it here. */
  cut(reason: string): void {
    this.#over(reason)
    this.#stream.destroy(reason)
  }

  /** A reload has sent its user away. Who has not shown that it is that user is told nothing of it. */
  dismiss(farewellOf: (user: string) => Refusal | null): void {
    const farewell = this.#hasLoggedIn ? farewellOf(this.#visitor.user) : null
    if (farewell !== null) this.#refuse(farewell)
  }

  /** The pooler stops: those who have not logged in are refused. */
  drain(): void {
    this.#refuse(shuttingDown())
  }

  #readPackets(): void {
    while (!this.#isOver && this.#bytes.length > 0) {
      const packet = peekStartup(this.#bytes, 0, this.#bytes.length)
      switch (packet.kind) {
        case 'need-more':
          return
        case 'tls':
          this.#onDirectTls()
          return
        case 'ssl':
          if (!this.#onSslRequest(packet.length)) return
          break
        case 'gss':
          if (!this.#onGssRequest(packet.length)) return
          break
        case 'cancel':
          this.#onCancel(packet.pid, packet.key)
          return
        case 'invalid':
          if (isOldProtocol(this.#bytes)) {
            this.#house.onRefused(this.#visitor, {
              severity: 'FATAL',
              code: packet.code,
              message: packet.message,
              reason: 'bad_startup',
            })
            this.#stream.write(Buffer.from(`EFATAL:  ${packet.message}\n\0`))
            this.#close('bad_startup')
            return
          }
          this.#refuse({
            severity: 'FATAL',
            code: packet.code,
            message: packet.message,
            reason: 'bad_startup',
          })
          return
        case 'startup':
          this.#bytes = this.#bytes.subarray(packet.length)
          this.#onStartup(packet)
          return
      }
    }
  }

  #onDirectTls(): void {
    const { tls } = this.#house
    const { peer } = this.#stream
    if (tls === null || peer.kind === 'unix' || peer.encrypted || this.#askedTls) {
      this.#close('a TLS handshake where none is possible')
      return
    }
    const early = this.#bytes
    this.#bytes = EMPTY
    this.#secure(early)
  }

  /** @returns whether packets may be read on. */
  #onSslRequest(length: number): boolean {
    const { tls } = this.#house
    if (this.#askedTls || this.#stream.peer.encrypted) {
      this.#refuseVersion(5679)
      return false
    }
    this.#askedTls = true
    if (tls === null || this.#stream.peer.kind === 'unix') {
      this.#bytes = this.#bytes.subarray(length)
      this.#stream.write(NO)
      return true
    }
    if (this.#bytes.length > length) {
      // CVE-2021-23214: what was sent in the clear must not count as said inside TLS.
      this.#refuse(unencrypted('SSL'))
      return false
    }
    this.#bytes = EMPTY
    this.#stream.write(SSL_YES)
    this.#secure(null)
    return false
  }

  #onGssRequest(length: number): boolean {
    if (this.#askedGss) {
      this.#refuseVersion(5680)
      return false
    }
    if (this.#bytes.length > length) {
      this.#refuse(unencrypted('GSSAPI encryption'))
      return false
    }
    this.#askedGss = true
    this.#bytes = EMPTY
    this.#stream.write(NO)
    return true
  }

  #refuseVersion(minor: number): void {
    const { code, message } = unsupportedProtocol(1234, minor)
    this.#refuse({ severity: 'FATAL', code, message, reason: 'bad_startup' })
  }

  #secure(early: Buffer | null): void {
    const { tls } = this.#house
    if (tls === null) return
    this.#stream.secure(tls, early, (error) => {
      if (error !== null) this.#onTlsFailed(error)
      else this.#onSecured()
    })
  }

  #onTlsFailed(error: Error): void {
    if (this.#isOver) return
    this.#house.onRefused(this.#visitor, tlsFailed(error.message))
    this.#over(error.message)
  }

  /** As in Postgres a certificate that is not believed ends it, whoever asks for one; but in words. */
  #onSecured(): void {
    const problem = this.#stream.peer.tls?.certificateProblem ?? ''
    if (problem !== '') this.#refuse(badCertificate(problem))
  }

  #onCancel(pid: number, key: Buffer): void {
    this.#isOver = true
    const target = this.#house.cancelKeys.find(pid, key)
    const close = (): void => {
      this.#stream.end()
      this.#house.onVisitorOver(this)
    }
    // As Postgres: no answer, and closed only when the request can hit nothing any more.
    if (target === null) close()
    else {
      this.#house.counters.cancels++
      target.cancelRequest(close)
    }
  }

  #onStartup(request: StartupRequest): void {
    const { peer } = this.#stream
    this.#request = request
    const { parameters } = request
    const user = toText(parameters.get('user') ?? '')
    const database = toText(parameters.get('database') ?? '') || user
    this.#visitor = { address: peer.address, user, database }
    if (request.minor > LATEST_MINOR || request.unknownOptions.length > 0) {
      const minor = Math.min(request.minor, LATEST_MINOR)
      this.#stream.write(
        negotiateProtocolVersion(
          minor,
          request.unknownOptions.map((name) => Buffer.from(name, 'latin1')),
        ),
      )
    }
    const replication = parameters.get('replication')
    if (replication !== undefined && replicationOf(replication) === null) {
      this.#refuse(badReplication(toText(replication)))
      return
    }
    if (this.#house.isDraining) {
      this.#refuse(shuttingDown())
      return
    }
    const gate = this.#house.judge(this.#arrival(parameters))
    if ('sqlstate' in gate) {
      this.#refuseLogin(gate, 'not_allowed')
      return
    }
    const refusal = this.#house.admit(this.#visitor)
    if (refusal !== null) {
      this.#refuse(refusal)
      return
    }
    this.#isAdmitted = true
    // Without a password, what came behind the startup packet may be the first request already.
    const early = this.#bytes
    this.#bytes = EMPTY
    this.#proof = new Proof(
      {
        stream: this.#stream,
        house: this.#house,
        visitor: this.#visitor,
        gate,
        onProved: (last, tail) => this.#onProved(last, tail),
        onFailed: (failure, reason) => this.#refuseLogin(failure, reason),
      },
      early,
    )
    this.#proof.start()
  }

  #arrival(parameters: ReadonlyMap<string, string>): Arrival {
    const { user, database } = this.#visitor
    const replication = parameters.get('replication') ?? '0'
    return {
      user,
      database,
      aliases: aliasesOf(database),
      // A replication connection to a database is one to that database: logical replication. Rules for
      // replication do not open the console.
      isPhysicalReplication:
        replication !== 'database' && replicationOf(replication) === true && !isConsole(database),
      peer: this.#stream.peer,
    }
  }

  #onProved(last: Buffer, early: Buffer): void {
    // Only now: who has not shown that it is this user must not use up the user's places, nor learn of them.
    const refusal = this.#house.admitUser(this.#visitor)
    if (refusal !== null) {
      this.#refuse(refusal)
      return
    }
    this.#hasLoggedIn = true
    this.#stream.write(last)
    this.#enter(early)
  }

  #enter(early: Buffer): void {
    const request = this.#request
    if (request === null) return
    this.#entry = new Entry({
      stream: this.#stream,
      house: this.#house,
      visitor: this.#visitor,
      parameters: request.parameters,
      keyLength: request.minor >= 2 ? KEY_LONG : KEY_SHORT,
      onEntered: () => this.#onEntered(),
      onRefused: (refusal) => this.#refuse(refusal),
    })
    // What came with the password is the client's first request: it waits for the end of the login.
    if (early.length > 0) this.#entry.onEarlyData(early)
    this.#entry.start()
  }

  #onEntered(): void {
    this.#isOver = true
    this.#house.onVisitorOver(this)
  }

  #refuseLogin({ sqlstate, message, detail, hint }: AuthFailure, reason: string): void {
    this.#refuse({
      severity: 'FATAL',
      code: sqlstate,
      message,
      ...(detail === '' ? {} : { detail }),
      ...(hint === '' ? {} : { hint }),
      reason,
    })
  }

  #refuse(refusal: Refusal): void {
    if (this.#isOver) return
    this.#house.onRefused(this.#visitor, refusal)
    this.#stream.write(errorResponse({ ...refusal, severity: 'FATAL' }))
    this.#close(refusal.reason)
  }

  #close(reason: string): void {
    this.#over(reason)
    this.#stream.end()
  }

  #over(_reason: string): void {
    if (this.#isOver) return
    this.#isOver = true
    this.#proof?.abandon()
    this.#entry?.abandon()
    if (this.#isAdmitted) this.#house.dismiss(this.#visitor, this.#hasLoggedIn)
    this.#house.onVisitorOver(this)
  }
}

/** Clients from before version 3 read errors as plain text. */
function isOldProtocol(bytes: Buffer): boolean {
  if (bytes.length < 8) return false
  const version = bytes.readUInt32BE(4)
  return version > 0 && version < 0x30000
}

function unencrypted(what: string): Refusal {
  return {
    severity: 'FATAL',
    code: '08P01',
    message: `received unencrypted data after ${what} request`,
    detail:
      'This could be either a client-software bug or evidence of an attempted man-in-the-middle attack.',
    reason: 'unencrypted_data',
  }
}
