// The admin port: metrics and health, and the dashboard beside them. It owns the listener and says which of
// the two answers a path.
import { type HttpHandler, serveHttp } from '../net/http.ts'
import type { Listener } from '../net/listen.ts'
import { Dashboard } from './dashboard/dashboard.ts'
import type { Desk } from './dashboard/types.ts'
import { adminHandler, type AdminSource, pathOf } from './http.ts'

export class AdminPort {
  readonly #source: AdminSource
  readonly #desk: Desk
  #listener: Listener | null = null
  #dashboard: Dashboard | null = null
  #host = ''

  constructor(source: AdminSource, desk: Desk) {
    this.#source = source
    this.#desk = desk
  }

  /** Where it is; null: nowhere. */
  get address(): { readonly host: string; readonly port: number } | null {
    return this.#listener === null ? null : { host: this.#host, port: this.#listener.port }
  }

  /** @param at an empty host: nowhere @throws one clear sentence when it cannot be opened */
  async open(at: { readonly host: string; readonly port: number }): Promise<void> {
    if (at.host === '') return
    this.#host = at.host
    this.#dashboard = new Dashboard(this.#desk)
    this.#listener = await serveHttp(at, this.#handler(this.#dashboard))
  }

  #handler(dashboard: Dashboard): HttpHandler {
    const others = adminHandler(this.#source)
    return (request, response) => {
      const path = pathOf(request.url ?? '/')
      if (dashboard.takes(path)) dashboard.answer(request, response, path)
      else others(request, response)
    }
  }

  tick(now: number): void {
    this.#dashboard?.tick(now)
  }

  async close(): Promise<void> {
    this.#dashboard?.close()
    await this.#listener?.close()
  }
}
