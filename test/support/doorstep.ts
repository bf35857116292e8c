// Owns: a user `door` in a Postgres, poolers that know it, and requests and WebSockets of it with whatever
// headers. Poolers stop with their test. Must never go through a driver: those choose their headers.
import { type Agent, request } from 'node:http'
import { afterEach } from 'node:test'
import { knock } from './knock.ts'
import { isSecret } from './known-secrets.ts'
import { endpointOf, on, urlOf } from './neon.ts'
import { type Overrides, startPooler, type TestPooler } from './pooler.ts'
import type { TestPostgres } from './postgres.ts'

export interface Answer {
  readonly status: number
  readonly headers: NodeJS.Dict<string | string[]>
  readonly body: Record<string, unknown> & { rows?: unknown[][]; message?: string }
}

export interface Sent {
  readonly url?: string
  readonly query?: string
  /** In place of one query. */
  readonly body?: string
  readonly method?: string
  readonly headers?: Readonly<Record<string, string>>
  /** Its connections; absent: one for this request. */
  readonly agent?: Agent
}

const PASSWORD = 'password-of-door'

export class Doorstep {
  readonly #postgres: TestPostgres
  readonly #stops: (() => Promise<void>)[] = []

  private constructor(postgres: TestPostgres) {
    this.#postgres = postgres
    afterEach(async () => {
      for (const stop of this.#stops.splice(0)) await stop()
    })
  }

  static async create(postgres: TestPostgres): Promise<Doorstep> {
    await postgres.admin(`create role door login noinherit password '${PASSWORD}'`)
    return new Doorstep(postgres)
  }

  /** A pooler with the endpoint on. */
  async start(serverless: object = {}, more: Overrides = {}): Promise<TestPooler> {
    const { user, password, url } = this.#postgres
    const pooler = await startPooler(url, {
      users: new Map([
        ['door', { secret: PASSWORD }],
        [user, { secret: password }],
      ]),
      upstream: { user: '', password: null },
      client: { auth: 'scram-sha-256' },
      serverless: on(serverless),
      ...more,
    })
    this.#stops.push(() => pooler.stop())
    return pooler
  }

  /** The connection string of `door`, or of somebody else. */
  url(password = PASSWORD, username = 'door'): string {
    isSecret('a password that a test sent', password)
    return urlOf(this.#postgres, { username, password: encodeURIComponent(password) })
  }

  /** One request. */
  send(pooler: TestPooler, sent: Sent): Promise<Answer> {
    const { url = this.url(), query = 'select current_user::text', method = 'POST', headers = {} } = sent
    const [host, port] = endpointOf(pooler).split(':')
    const all = {
      'neon-connection-string': url,
      'neon-raw-text-output': 'true',
      'neon-array-mode': 'true',
      ...headers,
    }
    return new Promise((resolve, reject) => {
      const asked = request({ host, port, method, path: '/sql', agent: sent.agent ?? false, headers: all })
      asked.on('error', reject)
      asked.on('response', (response) => {
        const chunks: Buffer[] = []
        response.on('data', (chunk: Buffer) => chunks.push(chunk))
        response.on('end', () => {
          const text = Buffer.concat(chunks).toString()
          const body = text === '' ? {} : JSON.parse(text)
          resolve({ status: response.statusCode ?? 0, headers: response.headers, body })
        })
      })
      asked.end(method === 'POST' ? (sent.body ?? JSON.stringify({ query, params: [] })) : undefined)
    })
  }

  /** What a WebSocket is told after its first message: 'in', or the error as text. */
  async knock(pooler: TestPooler, headers: Record<string, string>): Promise<string> {
    const { isIn, text } = await knock({
      endpoint: endpointOf(pooler),
      parameters: [
        ['user', 'door'],
        ['database', this.#postgres.database],
      ],
      password: PASSWORD,
      headers,
    })
    return isIn ? 'in' : text
  }
}
