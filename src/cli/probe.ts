// One login to Postgres to see whether it works and how many connections it allows. It opens one connection
// and closes it; it is no part of the pooler.
import type { PasswordWork } from '../auth/password-work.ts'
import { Login } from '../backend/login.ts'
import type { Config } from '../config/types.ts'
import { systemRandom } from '../net/random.ts'
import { routeOf } from '../routing/route-of.ts'
import { Router } from '../routing/router.ts'
import type { SecurableStream } from '../wire/byte-stream.ts'
import { parseErrorResponse } from '../wire/error-response.ts'
import { Found, Framer } from '../wire/framer.ts'
import { query, TERMINATE } from '../wire/messages.ts'
import { FromServer, SERVER_RULES } from '../wire/protocol.ts'

export type ProbeResult =
  | { ok: true; version: string; maxConnections: number; reserved: number }
  | { ok: false; problem: string }

const SQL =
  "SELECT current_setting('server_version'), current_setting('max_connections')," +
  " current_setting('superuser_reserved_connections')"

/** Logs in as the pooler would and asks. Never throws. */
export function probe(
  config: Config,
  target: { database: string; user: string },
  work: PasswordWork,
): Promise<ProbeResult> {
  const router = new Router(config, {
    makePool: () => {
      throw new Error('a probe makes no pool')
    },
  })
  const place = router.placeOf(target.database, target.user)
  if ('reason' in place) return Promise.resolve({ ok: false, problem: place.message })
  const route = routeOf(config, place, config.pool.mode)
  return new Promise((resolve) => {
    const login = new Login({ route, random: systemRandom, work }, new Map(), {
      onLoggedIn: ({ stream }) => {
        clearTimeout(timer)
        ask(stream, resolve)
      },
      onLoginFailed: (refusal) => {
        clearTimeout(timer)
        resolve({ ok: false, problem: `${refusal.message} (SQLSTATE ${refusal.code})` })
      },
    })
    const timer = setTimeout(() => login.timeOut(), route.connectTimeoutMs)
  })
}

function ask(stream: SecurableStream, resolve: (result: ProbeResult) => void): void {
  const framer = new Framer(SERVER_RULES, 64 * 1024, 64 * 1024)
  let values: string[] = []
  stream.handler = {
    onData(chunk) {
      framer.push(chunk)
      while (framer.next() === Found.Message) {
        const { type, src, start, stop } = framer
        if (type === FromServer.DataRow) values = rowValues(src, start)
        if (type === FromServer.ErrorResponse)
          resolve({ ok: false, problem: parseErrorResponse(src, start, stop).message })
        if (type !== FromServer.ReadyForQuery) continue
        stream.end(TERMINATE)
        const [version = '', most = '0', reserved = '0'] = values
        resolve({ ok: true, version, maxConnections: Number(most), reserved: Number(reserved) })
      }
    },
    onDrain() {},
    onEnd() {
      stream.end()
    },
    onClose(reason) {
      resolve({ ok: false, problem: `the connection was lost: ${reason}` })
    },
  }
  stream.write(query(SQL))
}

function rowValues(src: Buffer, start: number): string[] {
  const values: string[] = []
  let at = start + 7
  for (let count = src.readInt16BE(start + 5); count > 0; count--) {
    const length = src.readInt32BE(at)
    values.push(length < 0 ? '' : src.toString('utf8', at + 4, at + 4 + length))
    at += 4 + Math.max(length, 0)
  }
  return values
}
