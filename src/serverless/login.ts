// The login of one HTTP request: the rules, secrets and limits that count for connections, without a stream.
// What was right before is so at once. It ends in a place in the house or in a refusal; it runs nothing.
import type { ClientAuthMethod, Gate } from '../auth/access.ts'
import { judgeCertificate } from '../auth/certificate.ts'
import { refusedAtOnce, SCRAM_ITERATIONS } from '../auth/client-auth.ts'
import { type AuthFailure, failure, wrongPassword } from '../auth/failure.ts'
import { type Claims, type Judged, looksLikeToken } from '../auth/jwt.ts'
import { limitedCheck } from '../auth/limited-check.ts'
import type { PasswordAnswer } from '../auth/password-check.ts'
import type { Secret, SecretAnswer } from '../auth/secrets.ts'
import { isConsole } from '../frontend/console-door.ts'
import { loginFailed, shuttingDown } from '../frontend/refusals.ts'
import { NO_METHOD } from '../frontend/proof.ts'
import type { House, Visitor } from '../frontend/types.ts'
import type { Refusal } from '../pool/types.ts'
import type { Admitted, Caller, Credentials, Logins, RefusedLogin } from './types.ts'

const OVER_TLS = 'Use https; if a proxy has the TLS, name its address in serverless.trust_proxy.'
/** Somebody else may be served by then. */
const SOON_S = 1
const BAD_REQUEST = 400
const TOO_MANY = 429
const UNAVAILABLE = 503
/** Errors that pass: the same request may succeed before long. */
const PASSES: ReadonlySet<string> = new Set(['53200', '53300', '57P03', '58000', '08001'])

type Outcome = Admitted | RefusedLogin

/** Who asks, while it is not decided. */
interface Knock {
  readonly visitor: Visitor
  readonly caller: Caller
  readonly credentials: Credentials
  readonly gate: Gate
}

/** A password that was right. */
interface Proved {
  /** Of which connection string. */
  readonly credentials: Credentials
  /** With which it was checked. */
  readonly secret: Secret
  readonly answer: PasswordAnswer
}

/**
 * Whether both are of one connection string. It is known by its parameters, which are an object of its own
 * (`http/remembered.ts`): so passwords are compared only with themselves, and the time says nothing.
 */
function areSame(one: Credentials, other: Credentials): boolean {
  return (
    one.parameters === other.parameters &&
    one.user === other.user &&
    one.database === other.database &&
    one.password === other.password
  )
}

export class HttpLogins implements Logins {
  readonly #house: House
  /** The last one of each connection: the same string against the same secret comes to the same. */
  readonly #proved = new WeakMap<Caller, Proved>()

  constructor(house: House) {
    this.#house = house
  }

  /** A promise never rejects, but for errors of ours. */
  login(caller: Caller, credentials: Credentials): Outcome | Promise<Outcome> {
    const { tokens } = this.#house.auth
    // Whoever sends one where none is taken must not come in by something else instead.
    const token = tokens.isOn ? tokenOf(credentials) : credentials.token
    // Whoever says by a token only who it is has no name yet.
    if (token === null || credentials.user !== '') return this.#enter(caller, credentials, token)
    const judged = tokens.judge(token, '', caller.peer.address)
    const goOn = (claims: Judged): Outcome | Promise<Outcome> =>
      'sqlstate' in claims
        ? this.#refuseNameless(visitorOf(caller, credentials), claims)
        : this.#enter(caller, { ...credentials, user: claims.role }, token)
    return judged instanceof Promise ? judged.then(goOn) : goOn(judged)
  }

  /** Its token is no good, and it has said no name besides. */
  #refuseNameless(visitor: Visitor, failed: AuthFailure): RefusedLogin {
    this.#house.counters.logins.add('token', false)
    return this.#refuse(visitor, loginFailed(failed, 'auth_failed'), failed.retryAfter)
  }

  #enter(caller: Caller, credentials: Credentials, token: string | null): Outcome | Promise<Outcome> {
    const house = this.#house
    const visitor = visitorOf(caller, credentials)
    const { user, database } = visitor
    if (house.isDraining) return this.#refuse(visitor, shuttingDown())
    if (isConsole(database)) return this.#refuse(visitor, noConsole())
    const { peer } = caller
    const gate = house.judge({ user, database, isPhysicalReplication: false, peer })
    const problem = 'sqlstate' in gate ? gate : this.#problemOf(caller, gate, token)
    if ('sqlstate' in gate || problem !== null) {
      house.counters.logins.add('sqlstate' in gate ? NO_METHOD : gate.method, false)
      return this.#refuse(visitor, loginFailed(problem ?? wrongPassword(user), 'not_allowed'))
    }
    const goOn = (full: Refusal | null): Outcome | Promise<Outcome> =>
      full === null ? this.#begin({ visitor, caller, credentials, gate }, token) : this.#refuse(visitor, full)
    const verdict = house.admit(visitor)
    return verdict instanceof Promise ? verdict.then(goOn) : goOn(verdict)
  }

  /** It is counted from here on. */
  #begin(knock: Knock, token: string | null): Outcome | Promise<Outcome> {
    const outcome = this.#prove(knock, token)
    return outcome instanceof Promise
      ? outcome.catch((thrown: Error) => {
          this.#house.dismiss(knock.visitor, false)
          throw thrown
        })
      : outcome
  }

  /** What cannot succeed whatever is known of the user. */
  #problemOf({ peer }: Caller, gate: Gate, token: string | null): AuthFailure | null {
    if (gate.method === 'cert' || gate.method === 'scram-sha-256-plus') return notOverHttp(gate.method)
    const loopback = peer.loopback
    // The operator may have said that nobody minds.
    const encrypted = peer.encrypted || peer.web?.takesPasswords === true
    const method = gate.method === 'trust' && token === null ? 'trust' : 'password'
    const problem = refusedAtOnce({
      user: '',
      method,
      channel: { loopback, encrypted, endPoint: null },
      certificate: judgeCertificate(gate, peer),
      trustsAnywhere: gate.trustsAnywhere,
    })
    return problem === null || method === 'trust' ? problem : { ...problem, hint: OVER_TLS }
  }

  // ---- the proof; from here on the visitor is counted ----

  #prove(knock: Knock, token: string | null): Outcome | Promise<Outcome> {
    const { visitor, caller, credentials, gate } = knock
    const house = this.#house
    if (token !== null) {
      const judged = house.auth.tokens.judge(token, visitor.user, caller.peer.address)
      return judged instanceof Promise
        ? judged.then((claims) => this.#onToken(visitor, claims))
        : this.#onToken(visitor, judged)
    }
    if (gate.method === 'trust') return this.#admit(visitor, null, 'trust')
    if (credentials.password === null || credentials.password === '')
      return this.#fail(visitor, noPassword(visitor.user))
    const answer = house.secrets.lookup(visitor.user, visitor.database)
    return answer instanceof Promise
      ? answer.then((found) => this.#onSecret(knock, found))
      : this.#onSecret(knock, answer)
  }

  #onToken(visitor: Visitor, claims: Judged): Outcome | Promise<Outcome> {
    if (!('sqlstate' in claims)) return this.#admit(visitor, claims, 'token')
    return this.#fail(visitor, claims, { method: 'token' })
  }

  #onSecret(knock: Knock, found: SecretAnswer): Outcome | Promise<Outcome> {
    const { visitor, credentials, caller } = knock
    if ('failure' in found) return this.#fail(visitor, found.failure, { reason: 'auth_query' })
    const { auth, time } = this.#house
    const { secret } = found
    const { user } = visitor
    if (secret !== null) auth.notice(secret)
    const proved = this.#proved.get(caller)
    if (proved !== undefined && proved.secret === secret && areSame(proved.credentials, credentials))
      return this.#onChecked(knock, secret, proved.answer)
    const checked = limitedCheck(
      auth.work,
      { user, secret, salt: auth.saltOf(user), iterations: SCRAM_ITERATIONS },
      {
        password: Buffer.from(credentials.password ?? '', 'utf8'),
        tries: auth.failures.triesOf(visitor, time),
      },
    )
    return checked instanceof Promise
      ? checked.then((answer) => this.#onChecked(knock, secret, answer))
      : this.#onChecked(knock, secret, checked)
  }

  #onChecked(
    knock: Knock,
    secret: Secret | null,
    answer: PasswordAnswer | AuthFailure,
  ): Outcome | Promise<Outcome> {
    const { secrets } = this.#house
    const { visitor, caller, credentials } = knock
    if ('sqlstate' in answer) return this.#fail(visitor, answer)
    if (!answer.isRight || secret === null) {
      secrets.doubt(visitor)
      return this.#fail(visitor, wrongPassword(visitor.user))
    }
    if (!secrets.learn(visitor, secret, answer.keys)) return this.#fail(visitor, wrongPassword(visitor.user))
    if (this.#proved.get(caller)?.answer !== answer) this.#proved.set(caller, { credentials, secret, answer })
    return this.#admit(visitor, null, 'password')
  }

  #admit(visitor: Visitor, claims: Claims | null, method: string): Outcome | Promise<Outcome> {
    const house = this.#house
    house.counters.logins.add(method, true)
    // Only now: who has not shown that it is this user must not use up the user's places.
    const verdict = house.isDraining ? shuttingDown() : house.admitUser(visitor)
    return verdict instanceof Promise
      ? verdict.then((full) => this.#onVerdict(visitor, claims, full))
      : this.#onVerdict(visitor, claims, verdict)
  }

  #onVerdict(visitor: Visitor, claims: Claims | null, full: Refusal | null): Outcome | Promise<Outcome> {
    const house = this.#house
    if (full !== null) return this.#leave(visitor, full, false)
    if (house.reroute === null) return this.#seat(visitor, claims, visitor.database)
    return house
      .reroute(visitor)
      .then((to) =>
        typeof to === 'string' ? this.#seat(visitor, claims, to) : this.#leave(visitor, to, true),
      )
  }

  #seat(visitor: Visitor, claims: Claims | null, database: string): Outcome {
    const house = this.#house
    if (house.isDraining) return this.#leave(visitor, shuttingDown(), true)
    const access = house.route(database, claims?.loginUser ?? visitor.user)
    if ('reason' in access) return this.#leave(visitor, access, true)
    if (access.farewell !== null) return this.#leave(visitor, access.farewell, true)
    let isOver = false
    const leave = (): void => {
      if (!isOver) house.dismiss(visitor, true)
      isOver = true
    }
    const { loginUser } = access
    return { access, visitor, claims: claims === null ? null : { ...claims, loginUser }, leave }
  }

  // ---- refusals ----

  #fail(
    visitor: Visitor,
    failed: AuthFailure,
    { reason = 'auth_failed', method = 'password' } = {},
  ): RefusedLogin {
    this.#house.counters.logins.add(method, false)
    this.#house.dismiss(visitor, false)
    return this.#refuse(visitor, loginFailed(failed, reason), failed.retryAfter)
  }

  #leave(visitor: Visitor, refusal: Refusal, hadLoggedIn: boolean): RefusedLogin {
    this.#house.dismiss(visitor, hadLoggedIn)
    return this.#refuse(visitor, refusal)
  }

  /** @param wait seconds, where it was not looked at; absent: it was */
  #refuse(visitor: Visitor, refusal: Refusal, wait?: number): RefusedLogin {
    this.#house.onRefused(visitor, refusal)
    if (wait !== undefined) return { refusal, status: TOO_MANY, retryAfter: wait }
    return PASSES.has(refusal.code)
      ? { refusal, status: UNAVAILABLE, retryAfter: SOON_S }
      : { refusal, status: BAD_REQUEST, retryAfter: 0 }
  }
}

/** A token says more than a password that stands beside it. */
function tokenOf({ token, password }: Credentials): string | null {
  if (token !== null) return token
  return password !== null && looksLikeToken(password) ? password : null
}

function visitorOf({ peer }: Caller, { user, database }: Credentials): Visitor {
  return { address: peer.address, user, database: database || user }
}

function noConsole(): Refusal {
  return {
    severity: 'FATAL',
    code: '0A000',
    message: 'the console is not reached over HTTP',
    hint: 'Use psql with the database pgmux.',
    reason: 'not_allowed',
  }
}

function notOverHttp(method: ClientAuthMethod): AuthFailure {
  const hint = 'Connect over TCP, or give the user another method in pg_hba.conf for this address.'
  return { ...failure('28000', `authentication method "${method}" does not work over HTTP`), hint }
}

/** As Postgres and drivers say it, and the same for every user. */
function noPassword(user: string): AuthFailure {
  const detail = 'The connection string has no password.'
  return { ...wrongPassword(user), detail }
}
