// The dashboard at the admin port: which answer a path gets, and to whom. It owns the parts that know more;
// rights are asked for here and only here.
import { reportHandlerError } from '../../net/handler-errors.ts'
import type { HttpRequest, HttpResponse } from '../../net/http.ts'
import { Access, addressOf, type Who } from './access.ts'
import { Acts } from './acts.ts'
import { beginEvents, Refused, sendJson, sendPage, sendRefusal } from './answers.ts'
import { readObject } from './body.ts'
import { Feed } from './feed.ts'
import { checkHost, checkPost, checkSite } from './guard.ts'
import { Pages } from './pages.ts'
import { show } from './show.ts'
import type { Desk } from './types.ts'
import { Viewers, VIEWERS_MAX } from './viewers.ts'

const BELOW = '/dashboard/'

/** A request, and how it is answered. */
interface Asked {
  readonly request: HttpRequest
  readonly response: HttpResponse
}

type Answering = (asked: Asked) => void | Promise<void>

export class Dashboard {
  readonly #desk: Desk
  readonly #pages = new Pages()
  readonly #viewers = new Viewers()
  readonly #feed: Feed
  readonly #access: Access
  readonly #acts: Acts
  #isClosed = false
  /** By what stands behind `/dashboard/`. */
  readonly #gets: ReadonlyMap<string, Answering> = new Map([
    ['me', (asked) => this.#me(asked)],
    ['events', (asked) => this.#watch(asked)],
    ['show', (asked) => this.#show(asked)],
  ])
  readonly #posts: ReadonlyMap<string, Answering> = new Map([
    ['login', (asked) => this.#login(asked)],
    ['logout', (asked) => this.#logout(asked)],
    ['act', (asked) => this.#act(asked)],
  ])

  constructor(desk: Desk) {
    this.#desk = desk
    this.#feed = new Feed(desk, this.#viewers)
    this.#access = new Access(desk)
    this.#acts = new Acts(desk)
  }

  /** Is this path the dashboard's? */
  takes(path: string): boolean {
    if (this.#desk.config.admin.dashboard === 'off') return false
    return path === '/' || path.startsWith(BELOW)
  }

  /** Time has passed. */
  tick(now: number): void {
    if (this.#isClosed) return
    if (this.#desk.config.admin.dashboard !== 'off') this.#feed.tick(now)
    else if (this.#viewers.size > 0) this.#viewers.close('the dashboard was switched off')
  }

  /** The end. */
  close(): void {
    this.#isClosed = true
    this.#feed.close()
    this.#acts.close()
    this.#viewers.close('pgmux has stopped')
  }

  /** Answers a request for a path that it takes. Never rejects. */
  async answer(request: HttpRequest, response: HttpResponse, path: string): Promise<void> {
    const asked = { request, response }
    try {
      await this.#answer(asked, path)
    } catch (thrown) {
      if (thrown instanceof Refused) sendRefusal(request, response, thrown)
      // Who has gone in the middle of what it wanted to say needs no answer.
      else if (request.errored === null) {
        reportHandlerError(thrown, `the dashboard: ${request.method} ${path}`)
        sendRefusal(request, response, new Refused(500, 'internal error: see the log of pgmux'))
      }
    }
  }

  #answer(asked: Asked, path: string): void | Promise<void> {
    const { request, response } = asked
    const { method = '' } = request
    checkHost(request, this.#desk.config.admin.host)
    const name = path.slice(BELOW.length)
    const page = path === '/' ? this.#pages.index : this.#pages.find(name)
    const get = this.#gets.get(name)
    const post = this.#posts.get(name)
    if (post !== undefined && method === 'POST') {
      checkSite(request)
      checkPost(request)
      return post(asked)
    }
    if (page === null && get === undefined && post === undefined)
      throw new Refused(404, 'there is nothing under this path')
    const allow = post === undefined ? 'GET, HEAD' : 'POST'
    if (post !== undefined || (method !== 'GET' && method !== 'HEAD'))
      throw new Refused(405, `only ${allow} is answered here`, { headers: { allow } })
    if (page !== null) return sendPage(request, response, page)
    checkSite(request)
    return get?.(asked)
  }

  // ---- looking ----

  #me({ request, response }: Asked): void {
    sendJson(request, response, this.#described(this.#access.who(request)))
  }

  #described({ user, role, mayLook }: Who): object {
    const { version, config } = this.#desk
    return { user, role, mayLook, version, hasAdmins: config.admin.users.length > 0 }
  }

  #checkLook(request: HttpRequest): void {
    if (!this.#access.who(request).mayLook) throw new Refused(401, 'log in to look')
  }

  #watch({ request, response }: Asked): void {
    this.#checkLook(request)
    if (request.method === 'HEAD') throw new Refused(405, 'only GET is answered here')
    if (this.#isClosed) throw new Refused(503, 'pgmux is stopping')
    if (this.#viewers.isFull) throw new Refused(503, `${VIEWERS_MAX} are looking already: try again later`)
    this.#feed.tellLines(performance.now())
    beginEvents(response)
    this.#viewers.add(response, () => this.#access.who(request).mayLook)
    this.#feed.welcome(response)
  }

  async #show({ request, response }: Asked): Promise<void> {
    this.#checkLook(request)
    const { url = '' } = request
    const at = url.indexOf('?')
    sendJson(request, response, await show(this.#desk, at < 0 ? '' : url.slice(at + 1)))
  }

  // ---- coming in, and acting ----

  async #login({ request, response }: Asked): Promise<void> {
    const { cookie, who } = await this.#access.login(request, await readObject(request))
    sendJson(request, response, this.#described(who), { headers: { 'set-cookie': cookie } })
  }

  async #logout({ request, response }: Asked): Promise<void> {
    await readObject(request)
    const headers = { 'set-cookie': this.#access.logout(request) }
    sendJson(request, response, { ok: true }, { headers })
  }

  async #act({ request, response }: Asked): Promise<void> {
    this.#checkAct(request)
    const body = await readObject(request)
    // A right may have gone while the rest came in.
    const { user } = this.#checkAct(request)
    await this.#acts.run({ user, address: addressOf(request) }, body, response)
    sendJson(request, response, { ok: true })
  }

  #checkAct(request: HttpRequest): Who {
    const who = this.#access.who(request)
    if (who.role === 'admin') return who
    if (who.role === null) throw new Refused(401, 'log in as one of admin.users to do this')
    throw new Refused(403, `user "${who.user}" may look only: admin.users names those who may do more`)
  }
}
