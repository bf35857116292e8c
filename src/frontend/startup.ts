// A connection before its login: TLS, startup packet, cancel request, authentication. It owns the stream
// until it becomes a Client or closes. Nothing it says reaches a pool or a server before it is authenticated.
import type { Arrival, Gate } from '../auth/access.ts'
import type { AuthFailure } from '../auth/failure.ts'
import type { Claims } from '../auth/jwt.ts'
import type { Refusal } from '../pool/types.ts'
import type { SecurableStream, StreamHandler } from '../wire/byte-stream.ts'
import { errorResponse } from '../wire/error-response.ts'
import { negotiateProtocolVersion } from '../wire/messages.ts'
import { isOldProtocol, LATEST_MINOR, peekStartup, type StartupRequest, toText } from '../wire/startup.ts'
import { KEY_LONG, KEY_SHORT } from './cancel-keys.ts'
import { aliasesOf, isConsole } from './console-door.ts'
import { Entry } from './entry.ts'
import { Encryption } from './encryption.ts'
import { badReplication, loginFailed, shuttingDown, timedOut, tlsFailed } from './refusals.ts'
import { NO_METHOD, Proof } from './proof.ts'
import { replicationOf } from './replication.ts'
import type { House, Verdict, Visitor } from './types.ts'
import {
  type Entrance,
  FAREWELL_MS,
  Goodbye,
  StrayPassword,
  unknownAddress,
  webGate,
} from './web-entrance.ts'

const EMPTY = Buffer.alloc(0)

export class Startup implements StreamHandler {
  /** An object of its own: it outlives the login, which must not be kept for it. */
  #visitor: Visitor
  readonly #stream: SecurableStream
  readonly #house: House
  /** What opened its WebSocket; null: it came in without one. */
  readonly #entrance: Entrance | null
  readonly #encryption: Encryption
  #deadline: number
  #bytes: Buffer = EMPTY
  #request: StartupRequest | null = null
  #proof: Proof | null = null
  #isAdmitted = false
  #hasLoggedIn = false
  #entry: Entry | null = null
  #isOver = false
  /** It was refused, and may take its time to read that. */
  #goodbye: Goodbye | null = null
  #mayHaveStrayPassword = false

  constructor(stream: SecurableStream, house: House, entrance: Entrance | null = null) {
    this.#entrance = entrance
    this.#stream = stream
    this.#house = house
    this.#encryption = new Encryption({
      stream,
      house,
      entrance,
      onRefused: (refusal) => this.#refuse(refusal),
      onImpossible: () => this.#close('a TLS handshake where none is possible'),
      onFailed: (message) => this.#onTlsFailed(message),
    })
    this.#visitor = { address: stream.peer.address, user: '', database: '' }
    const limit = house.limits.loginTimeoutMs
    this.#deadline = limit > 0 ? house.time.now + limit : Number.POSITIVE_INFINITY
  }

  get address(): string {
    return this.#visitor.address
  }

  onData(chunk: Buffer): void {
    if (this.#goodbye?.hears(chunk) === true) this.#leave()
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
    this.#leave()
  }

  onClose(reason: string): void {
    this.#over(reason)
    this.#leave()
  }

  /** Time has passed. */
  tick(now: number): void {
    if (now <= this.#deadline) this.#entry?.tick(now)
    else if (this.#goodbye !== null) this.#leave()
    else {
      this.#refuse(timedOut('login'))
      // Who never said what it wants does not wait for an answer either.
      if (this.#request === null) this.#leave()
    }
  }

  /** Something went wrong with it here. */
  cut(reason: string): void {
    this.#over(reason)
    this.#leave()
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
    if (this.#goodbye !== null) this.#leave()
  }

  #readPackets(): void {
    while (!this.#isOver && this.#bytes.length > 0) {
      const packet = peekStartup(this.#bytes, 0, this.#bytes.length)
      switch (packet.kind) {
        case 'need-more':
          return
        case 'tls':
          this.#encryption.onDirectTls(this.#take())
          return
        case 'ssl':
        case 'gss': {
          const behind = this.#take().subarray(packet.length)
          const { kind } = packet
          const goesOn =
            kind === 'ssl' ? this.#encryption.onSslRequest(behind) : this.#encryption.onGssRequest(behind)
          if (!goesOn) return
          this.#bytes = behind
          break
        }
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

  #take(): Buffer {
    const bytes = this.#bytes
    this.#bytes = EMPTY
    return bytes
  }

  #onTlsFailed(message: string): void {
    if (this.#isOver) return
    this.#house.onRefused(this.#visitor, tlsFailed(message))
    this.#over(message)
  }

  #onCancel(pid: number, key: Buffer): void {
    this.#isOver = true
    // As Postgres: no answer, and closed only when the request can hit nothing any more.
    this.#house.cancel(pid, key, () => {
      this.#stream.end()
      this.#house.onVisitorOver(this)
    })
  }

  #onStartup(request: StartupRequest): void {
    const { peer } = this.#stream
    this.#request = request
    const { parameters } = request
    const user = toText(parameters.get('user') ?? '')
    const named = this.#entrance?.database ?? toText(parameters.get('database') ?? '')
    const database = named || user
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
    const gate = this.#gate(parameters)
    if (gate === null) return
    const visitor = this.#visitor
    this.#await(this.#house.admit(visitor), {
      onYes: () => this.#onAdmitted(gate),
      onGone: () => this.#house.dismiss(visitor, false),
    })
  }

  /** The house may have to ask other processes: nothing is read meanwhile. */
  #await(verdict: Verdict, told: { onYes(): void; onGone(): void }): void {
    if (!(verdict instanceof Promise)) {
      if (verdict === null) told.onYes()
      else this.#refuse(verdict)
      return
    }
    const stream = this.#stream
    stream.pause()
    verdict
      .then((refusal) => {
        if (!this.#isOver) {
          stream.resume()
          this.#await(refusal, told)
        } else if (refusal === null) told.onGone()
      })
      .catch((thrown: Error) => stream.destroy(`internal error: ${thrown.message}`))
  }

  #onAdmitted(gate: Gate): void {
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
        onProved: (last, tail, claims) => this.#onProved(last, tail, claims),
        onFailed: (failure, reason) => this.#refuseLogin(failure, reason),
      },
      early,
    )
    this.#proof.start()
  }

  /** @returns null: it was refused */
  #gate(parameters: ReadonlyMap<string, string>): Gate | null {
    const entrance = this.#entrance
    if (entrance !== null && entrance.unknownAddress !== null) {
      this.#refuse(unknownAddress(entrance.unknownAddress))
      return null
    }
    const gate = this.#house.judge(this.#arrival(parameters))
    if ('sqlstate' in gate) {
      this.#house.counters.logins.add(NO_METHOD, false)
      this.#refuseLogin(gate, 'not_allowed')
      return null
    }
    if (entrance === null) return gate
    this.#mayHaveStrayPassword = gate.method === 'trust' || gate.method === 'cert'
    return webGate(gate, this.#stream.peer)
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

  #onProved(last: Buffer, early: Buffer, claims: Claims | null): void {
    if (claims !== null) this.#visitor = { ...this.#visitor, claims }
    // Only now: who has not shown that it is this user must not use up the user's places, nor learn of them.
    const visitor = this.#visitor
    this.#await(this.#house.admitUser(visitor), {
      onYes: () => {
        this.#hasLoggedIn = true
        this.#stream.write(last)
        this.#enter(early)
      },
      onGone: () => this.#house.dismissUser(visitor),
    })
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
    const stream = this.#stream
    if (this.#mayHaveStrayPassword) stream.handler = new StrayPassword(stream, stream.handler)
    this.#isOver = true
    this.#house.onVisitorOver(this)
  }

  #refuseLogin(failure: AuthFailure, reason: string): void {
    this.#refuse(loginFailed(failure, reason))
  }

  #refuse(refusal: Refusal): void {
    if (this.#isOver) return
    this.#house.onRefused(this.#visitor, refusal)
    this.#stream.write(errorResponse({ ...refusal, severity: 'FATAL' }))
    this.#close(refusal.reason)
  }

  #close(reason: string): void {
    // A driver that has sent its query already takes a close in place of the answer for another error. It
    // stays a visitor, and counts as one.
    if (this.#entrance !== null) {
      this.#goodbye = new Goodbye()
      this.#deadline = this.#house.time.now + FAREWELL_MS
      this.#stream.resume()
    }
    this.#over(reason)
    if (this.#goodbye === null) this.#stream.end()
  }

  #over(_reason: string): void {
    if (this.#isOver) return
    this.#isOver = true
    this.#proof?.abandon()
    this.#entry?.abandon()
    if (this.#isAdmitted) this.#house.dismiss(this.#visitor, this.#hasLoggedIn)
    if (this.#goodbye === null) this.#house.onVisitorOver(this)
  }

  /** One that was refused goes for good. */
  #leave(): void {
    this.#stream.end()
    if (this.#goodbye === null) return
    this.#goodbye = null
    this.#house.onVisitorOver(this)
  }
}
