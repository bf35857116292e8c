// A client of the console, for the commands of the command line: one connection, one question at a time. It
// owns that connection. It logs in as the pooler itself logs in to a Postgres.
import { parseSecret } from '../auth/secrets.ts'
import { PasswordWork } from '../auth/password-work.ts'
import { Login } from '../backend/login.ts'
import { type Flags, loadConfig } from '../config/load.ts'
import type { Config } from '../config/types.ts'
import { systemRandom } from '../net/random.ts'
import { routeOf } from '../routing/route-of.ts'
import { Router } from '../routing/router.ts'
import type { SecurableStream } from '../wire/byte-stream.ts'
import { parseErrorResponse } from '../wire/error-response.ts'
import { Found, Framer } from '../wire/framer.ts'
import { query, TERMINATE } from '../wire/messages.ts'
import { FromServer, SERVER_RULES } from '../wire/protocol.ts'

const MESSAGE_MAX = 1024 * 1024
const HEADER = 5
/** What the console cannot be asked without. */
const HOW_TO_GET_IN =
  'name a user in admin.stats_users (or admin.users), or give a URL: postgres://user:password@host:6432/pgmux'
const TYPES_OF_NUMBERS = new Set([20, 23, 1700])

/** One row, by the names of its columns. */
export type Row = Readonly<Record<string, string | number | null>>

/** The console could not be asked. One sentence. */
export class ConsoleFailure extends Error {
  override name = 'ConsoleFailure'
}

/**
 * The URL of the console that is meant: the one that was given, else that of the pooler which has this
 * configuration, as the first of its users who may look and whose password is known.
 * @throws ConsoleFailure
 */
export function consoleUrl(target: string, flags: Flags, env: NodeJS.ProcessEnv): string {
  if (target !== '') return target
  const { config } = loadConfig({ flags })
  const user = operatorOf(config)
  if (user === null) throw new ConsoleFailure(`nobody is known who may use the console: ${HOW_TO_GET_IN}`)
  const secret = config.users.get(user)?.secret ?? null
  const parsed = secret === null ? null : parseSecret(secret)
  const password = parsed?.kind === 'plain' ? parsed.password : (env.PGPASSWORD ?? '')
  const { hosts, port } = config.listen
  const login = `${encodeURIComponent(user)}${password === '' ? '' : `:${encodeURIComponent(password)}`}`
  return `postgres://${login}@${reachable(hosts[0])}:${port}/pgmux`
}

/** One whose password stands there, if there is one. */
function operatorOf({ admin, users }: Config): string | null {
  const all = [...admin.statsUsers, ...admin.users]
  return all.find((user) => users.get(user)?.secret != null) ?? all[0] ?? null
}

/** All addresses are listened to: this machine is one of them. */
function reachable(host: string): string {
  if (host === '0.0.0.0' || host === '*' || host === '') return '127.0.0.1'
  if (host === '::') return '[::1]'
  return host.includes(':') ? `[${host}]` : host
}

export class ConsoleClient {
  readonly #stream: SecurableStream
  readonly #framer = new Framer(SERVER_RULES, MESSAGE_MAX, MESSAGE_MAX)
  #columns: { name: string; isNumber: boolean }[] = []
  #rows: Row[] = []
  #error: ConsoleFailure | null = null
  #asked: PromiseWithResolvers<Row[]> | null = null

  private constructor(stream: SecurableStream) {
    this.#stream = stream
    const gone = (reason: string): void => {
      this.#asked?.reject(new ConsoleFailure(`the connection to the console was lost: ${reason}`))
      this.#asked = null
    }
    stream.handler = {
      onData: (chunk) => this.#onData(chunk),
      onDrain: () => {},
      onEnd: () => {
        stream.end()
        gone('it was closed')
      },
      onClose: gone,
    }
  }

  /** @throws ConsoleFailure with what the other end says */
  static connect(url: string, env: NodeJS.ProcessEnv): Promise<ConsoleClient> {
    const { href, pathname } = completed(url, env.PGPASSWORD)
    const flags = { upstream: href, listen: '127.0.0.1:0' }
    const { config } = loadConfig({ flags, env: {} })
    const router = new Router(config, {
      makePool: () => {
        throw new Error('a client makes no pool')
      },
    })
    const place = router.placeOf('any', '')
    if ('reason' in place) throw new ConsoleFailure(place.message)
    const route = routeOf(config, { ...place, dbname: decodeURIComponent(pathname.slice(1)) }, 'session')
    return new Promise((resolve, reject) => {
      const work = new PasswordWork()
      const parameters = new Map([['application_name', 'pgmux']])
      const login = new Login({ route, random: systemRandom, work }, parameters, {
        onLoggedIn: ({ stream }) => {
          clearTimeout(timer)
          resolve(new ConsoleClient(stream))
        },
        onLoginFailed: ({ message, code }) => {
          clearTimeout(timer)
          reject(new ConsoleFailure(`${message.replace('Postgres', 'the console')} (${code})`))
        },
      })
      const timer = setTimeout(() => login.timeOut(), route.connectTimeoutMs)
    })
  }

  /** The rows of one command. @throws ConsoleFailure */
  ask(text: string): Promise<Row[]> {
    this.#asked = Promise.withResolvers()
    this.#rows = []
    this.#error = null
    this.#stream.write(query(text))
    return this.#asked.promise
  }

  end(): void {
    this.#stream.end(TERMINATE)
  }

  #onData(chunk: Buffer): void {
    const framer = this.#framer
    framer.push(chunk)
    while (framer.next() === Found.Message) {
      const { type, src, start, stop } = framer
      if (type === FromServer.RowDescription) this.#columns = columnsOf(src, start)
      else if (type === FromServer.DataRow) this.#rows.push(rowOf(src, start, this.#columns))
      else if (type === FromServer.ErrorResponse)
        this.#error = new ConsoleFailure(parseErrorResponse(src, start, stop).message)
      else if (type === FromServer.ReadyForQuery) this.#answer()
    }
  }

  #answer(): void {
    const asked = this.#asked
    this.#asked = null
    if (this.#error === null) asked?.resolve(this.#rows)
    else asked?.reject(this.#error)
  }
}

/** @throws ConsoleFailure: it never repeats a part of the URL, which may hold a password */
function completed(text: string, password: string | undefined): URL {
  if (!URL.canParse(text)) throw new ConsoleFailure('the URL of the console is not one')
  const url = new URL(text)
  if (url.password === '' && password !== undefined) url.password = encodeURIComponent(password)
  if (url.port === '') url.port = '6432'
  if (url.pathname.length <= 1) url.pathname = '/pgmux'
  return url
}

function columnsOf(src: Buffer, start: number): { name: string; isNumber: boolean }[] {
  const columns: { name: string; isNumber: boolean }[] = []
  let at = start + HEADER + 2
  for (let count = src.readInt16BE(start + HEADER); count > 0; count--) {
    const end = src.indexOf(0, at)
    columns.push({
      name: src.toString('utf8', at, end),
      isNumber: TYPES_OF_NUMBERS.has(src.readUInt32BE(end + 7)),
    })
    at = end + 19
  }
  return columns
}

function rowOf(src: Buffer, start: number, columns: readonly { name: string; isNumber: boolean }[]): Row {
  const row: Record<string, string | number | null> = {}
  let at = start + HEADER + 2
  for (const { name, isNumber } of columns) {
    const length = src.readInt32BE(at)
    const text = length < 0 ? null : src.toString('utf8', at + 4, at + 4 + length)
    row[name] = isNumber && text !== null ? Number(text) : text
    at += 4 + Math.max(length, 0)
  }
  return row
}
