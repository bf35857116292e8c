// Owns: the model's side of everything before ReadyForQuery: encryption requests, cancel requests, the
// startup packet and the refusals of a login. Must never ask for a password: every user that exists is
// trusted.

import type { FakeBackend } from './backend.ts'
import type { Steps } from './language.ts'
import { Gone, Session } from './session.ts'
import { DEFAULTS, Settings } from './settings.ts'
import { answer, type ClientMessage, Fields, PgError } from './wire.ts'

const SSL_REQUEST = 80877103
const GSS_REQUEST = 80877104
const CANCEL_REQUEST = 80877102

const fatal = (code: string, text: string) => new PgError(code, text, 'FATAL')

/** The whole life of a connection. */
export function* startup(backend: FakeBackend): Steps<void> {
  for (;;) {
    const message = (yield { kind: 'read' }) as ClientMessage
    if (message.type === 'EOF') throw new Gone()
    const fields = new Fields(message.body)
    const version = fields.int()
    if (version === CANCEL_REQUEST) return cancel(backend, message.body)
    if (version === SSL_REQUEST || version === GSS_REQUEST) {
      backend.write(Buffer.from('N'))
      continue
    }
    if (version >> 16 !== 3) {
      throw fatal(
        '0A000',
        `unsupported frontend protocol ${version >> 16}.${version & 0xffff}: server supports 3.0`,
      )
    }
    return yield* login(backend, version & 0xffff, fields)
  }
}

/** The connection is closed when the signal has been sent, as in Postgres. */
function cancel(backend: FakeBackend, body: Buffer): void {
  const { cluster } = backend
  const pid = body.readInt32BE(4)
  const key = Buffer.from(body.subarray(8))
  cluster.cancelRequests.push({ pid, key })
  cluster.schedule(cluster.cancelDelay, () => {
    cluster.cancel(pid, key)
    backend.close()
  })
}

function readParams(fields: Fields): Map<string, string> {
  const params = new Map<string, string>()
  for (let name = fields.text(); name !== ''; name = fields.text()) params.set(name, fields.text())
  return params
}

function* login(backend: FakeBackend, minor: number, fields: Fields): Steps<void> {
  const { cluster } = backend
  const params = readParams(fields)
  backend.cutter.typed = true
  if (cluster.loginDelay > 0) yield { kind: 'sleep', ms: cluster.loginDelay }
  const unknown = [...params.keys()].filter((name) => name.startsWith('_pq_.'))
  const agreed = Math.min(minor, cluster.protocolMinor)
  if (minor > agreed || unknown.length > 0) backend.write(answer.negotiate(0x30000 + agreed, unknown))
  const user = params.get('user') ?? ''
  const database = params.get('database') || user
  refuse(backend, user, database)
  const key = cluster.random.bytes(agreed >= 2 ? 32 : 4)
  const session = new Session({ pid: cluster.nextPid(), key, user, database }, settingsOf(backend, params), {
    write: (bytes) => backend.write(bytes),
    record: (from, sql, values) => cluster.record(from, sql, values),
    notify: (from, channel, payload) => cluster.notify(from, channel, payload),
    rules: cluster.rules,
    duration: (sql, from) => cluster.duration(sql, from),
  })
  backend.session = session
  session.emit(answer.authenticationOk())
  for (const [name, value] of session.settings.untold()) session.emit(answer.parameterStatus(name, value))
  session.emit(answer.backendKeyData(session.pid, key))
  yield* session.main()
}

/** The order of Postgres: state of the server, then who, then where, then how many. */
function refuse(backend: FakeBackend, user: string, database: string): void {
  const { cluster } = backend
  if (cluster.refusal !== null) throw cluster.refusal
  if (user === '') throw fatal('28000', 'no PostgreSQL user name specified in startup packet')
  if (cluster.logins >= cluster.maxConnections) throw fatal('53300', 'sorry, too many clients already')
  if (!cluster.roles.has(user)) throw fatal('28000', `role "${user}" does not exist`)
  if (!cluster.databases.has(database)) throw fatal('3D000', `database "${database}" does not exist`)
}

/** `-c name=value` and `--name=value`, with backslash before a space. */
function readOptions(text: string): [string, string][] {
  const words = (text.match(/(?:\\.|\S)+/g) ?? []).map((word) => word.replace(/\\(.)/g, '$1'))
  const joined = words.join('\0').replaceAll('-c\0', '-c').split('\0')
  return joined
    .filter((word) => word !== '')
    .map((word) => {
      const found = /^(?:-c|--)([^=]+)=(.*)$/s.exec(word)
      if (found === null) throw fatal('42601', `invalid command-line argument for server process: ${word}`)
      return [(found[1] ?? '').replaceAll('-', '_'), found[2] ?? '']
    })
}

/** What RESET returns to: the server's defaults and, above them, what the startup packet says. */
function settingsOf({ cluster }: FakeBackend, params: Map<string, string>): Settings {
  const user = params.get('user') ?? ''
  const superuser = cluster.roles.get(user) === true ? 'on' : 'off'
  const login = { session_authorization: user, is_superuser: superuser }
  const settings = new Settings({ ...DEFAULTS, ...cluster.defaults, ...login }, cluster.roles)
  const wanted: [string, string][] = [...readOptions(params.get('options') ?? '')]
  for (const [name, value] of params) {
    if (!/^(user|database|options|replication)$/.test(name) && !name.startsWith('_pq_.'))
      wanted.push([name, value])
  }
  for (const [name, value] of wanted) setAtLogin(settings, name, value)
  return settings
}

function setAtLogin(settings: Settings, name: string, value: string): void {
  try {
    settings.boot.set(name.toLowerCase(), settings.set(name, value, false))
  } catch (error) {
    if (!(error instanceof PgError)) throw error
    throw new PgError(error.code, error.message, 'FATAL', error.more)
  }
}
