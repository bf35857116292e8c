// Who asks, and what that one may: by a login, or by an address of this machine. It owns the logins.
// Passwords are checked by the desk, which counts the wrong ones.
import { systemClock } from '../../net/clock.ts'
import type { HttpRequest } from '../../net/http.ts'
import { isLoopback, plainAddress } from '../../net/peer.ts'
import { systemRandom } from '../../net/random.ts'
import { roleIn } from '../console/roles.ts'
import type { Role } from '../console/types.ts'
import { Refused } from './answers.ts'
import { textOf } from './body.ts'
import { type Session, Sessions } from './sessions.ts'
import type { AuthFailure, Desk } from './types.ts'

/** Somebody. `user` is empty without a login. */
export interface Who {
  readonly user: string
  readonly role: Role | null
  readonly mayLook: boolean
}

/** As clients read it whose password cannot be checked now. */
const TOO_MANY = '53300'
/** What proxies add. */
const PROXIED = ['forwarded', 'x-forwarded-for', 'x-real-ip', 'via']
/** Of a user; Postgres knows shorter ones. */
const NAME_MAX = 256

export class Access {
  readonly #desk: Desk
  readonly #sessions = new Sessions(systemClock, systemRandom)

  constructor(desk: Desk) {
    this.#desk = desk
  }

  who(request: HttpRequest): Who {
    const session = this.#sessions.find(request.headers.cookie)
    const role = session === null ? null : this.#roleOf(session)
    if (session !== null && role !== null) return { user: session.user, role, mayLook: true }
    return { user: '', role: null, mayLook: this.#mayLookUnknown(request) }
  }

  #mayLookUnknown(request: HttpRequest): boolean {
    const isHere = isLoopback(addressOf(request)) && !isPassedOn(request)
    return isHere && this.#desk.config.admin.dashboard === 'auto'
  }

  /** What the configuration says now; null where the user's secret is another one by now. */
  #roleOf({ user, secret }: Session): Role | null {
    return this.#secretOf(user) === secret ? roleIn(this.#desk.config.admin, user) : null
  }

  #secretOf(user: string): string | null {
    return this.#desk.config.users.get(user)?.secret ?? null
  }

  /** @returns the header that gives the cookie, and who that is @throws Refused */
  async login(
    request: HttpRequest,
    body: Readonly<Record<string, unknown>>,
  ): Promise<{ cookie: string; who: Who }> {
    const user = textOf(body, 'user')
    if (user.length > NAME_MAX) throw new Refused(400, `a name has ${NAME_MAX} characters at most`)
    const password = textOf(body, 'password')
    const address = addressOf(request)
    // What the password was checked with, or something older: then the login is over at once.
    const secret = this.#secretOf(user)
    const failure = await this.#desk.check({ user, password, address })
    if (failure !== null) throw refusalOf(failure)
    const role = roleIn(this.#desk.config.admin, user)
    if (role === null)
      throw new Refused(401, `user "${user}" is not allowed to use the dashboard: see admin.users`)
    this.#sessions.end(request.headers.cookie)
    this.#desk.note({ user, client: address }, 'login to the dashboard')
    return { cookie: this.#sessions.open({ user, secret }), who: { user, role, mayLook: true } }
  }

  /** @returns the header that takes the cookie away */
  logout(request: HttpRequest): string {
    return this.#sessions.end(request.headers.cookie)
  }
}

export function addressOf({ socket }: HttpRequest): string {
  return plainAddress(socket.remoteAddress ?? '')
}

/** A proxy says that it asks for somebody else, who may be anywhere. */
function isPassedOn({ headers }: HttpRequest): boolean {
  return PROXIED.some((name) => headers[name] !== undefined)
}

function refusalOf({ message, hint, sqlstate, retryAfter }: AuthFailure): Refused {
  const error = hint === '' ? message : `${message}. ${hint}`
  if (retryAfter !== undefined)
    return new Refused(429, error, { headers: { 'retry-after': String(retryAfter) } })
  return new Refused(sqlstate === TOO_MANY ? 503 : 401, error)
}
