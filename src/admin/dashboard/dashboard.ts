// The dashboard at the admin port: who may look, and which answer a path gets. It owns the parts that know
// more; it shows nothing to whom `mayLook` does not name.
import type { HttpRequest, HttpResponse } from '../../net/http.ts'
import { isLoopback, plainAddress } from '../../net/peer.ts'
import { beginEvents, Refused, sendJson, sendPage, sendRefusal } from './answers.ts'
import { Feed } from './feed.ts'
import { checkHost, checkSite } from './guard.ts'
import { Pages } from './pages.ts'
import type { Desk } from './types.ts'
import { Viewers, VIEWERS_MAX } from './viewers.ts'

const BELOW = '/dashboard/'

/** A request with what was found out about it. */
interface Asked {
  readonly request: HttpRequest
  readonly response: HttpResponse
  /** Behind `/dashboard/`. */
  readonly name: string
}

export class Dashboard {
  readonly #desk: Desk
  readonly #pages = new Pages()
  readonly #viewers = new Viewers()
  readonly #feed: Feed
  #isClosed = false

  constructor(desk: Desk) {
    this.#desk = desk
    this.#feed = new Feed(desk, this.#viewers)
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
    this.#viewers.close('pgmux has stopped')
  }

  /** Answers a request for a path that it takes. */
  answer(request: HttpRequest, response: HttpResponse, path: string): void {
    const name = path.slice(BELOW.length)
    try {
      checkHost(request, this.#desk.config.admin.host)
      if (request.method !== 'GET' && request.method !== 'HEAD')
        throw new Refused(405, 'only GET is answered here', { headers: { allow: 'GET, HEAD' } })
      const page = path === '/' ? this.#pages.index : this.#pages.find(name)
      if (page !== null) sendPage(request, response, page)
      else this.#tell({ request, response, name })
    } catch (thrown) {
      if (!(thrown instanceof Refused)) throw thrown
      sendRefusal(request, response, thrown)
    }
  }

  #tell({ request, response, name }: Asked): void {
    checkSite(request)
    if (name === 'me') sendJson(request, response, this.#me(request))
    else if (name === 'events') this.#watch(request, response)
    else throw new Refused(404, 'there is nothing under this path')
  }

  #me(request: HttpRequest): object {
    const { version, config } = this.#desk
    const mayLook = this.#mayLook(request)
    return { user: '', role: null, mayLook, version, hasAdmins: config.admin.users.length > 0 }
  }

  #mayLook({ socket }: HttpRequest): boolean {
    if (this.#desk.config.admin.dashboard === 'password') return false
    return isLoopback(plainAddress(socket.remoteAddress ?? ''))
  }

  #watch(request: HttpRequest, response: HttpResponse): void {
    if (!this.#mayLook(request)) throw new Refused(401, 'log in to look')
    if (request.method === 'HEAD') throw new Refused(405, 'only GET is answered here')
    if (this.#isClosed) throw new Refused(503, 'pgmux is stopping')
    if (this.#viewers.isFull) throw new Refused(503, `${VIEWERS_MAX} are looking already: try again later`)
    beginEvents(response)
    this.#viewers.add(response, () => this.#mayLook(request))
    this.#feed.welcome(response)
  }
}
