// From what pgbouncer.ini says to what config.yaml says, by the tables beside this file. Reads no file;
// what it cannot know of itself (whole names of files, the list of users) is given. Never shows a password.
import { optionAt } from '../options.ts'
import { nearestName, unknownName } from '../problems.ts'
import { parseDuration } from '../units.ts'
import { ImportError, type IniEntry, readPairs } from './ini.ts'
import { MOST_SERVERS, type Others, type Read, type Setting, type Value } from './setting.ts'
import { SETTINGS } from './settings.ts'
import { DATABASE_KEYS, PEER_KEYS, USER_KEYS } from './settings-named.ts'
import { readAtoi, readInteger, readSeconds, readWord, shown } from './values.ts'

/** One key of config.yaml. */
export interface Line {
  readonly path: readonly string[]
  readonly value: Value
  /** What stands above it. */
  readonly remark: string
}

export interface Converted {
  readonly lines: Line[]
  /** What has no key here, and why. */
  readonly left: string[]
  /** What whoever switches should know at once; each begins with its place. */
  readonly warnings: string[]
}

/** A setting that stands in the file. */
interface Said {
  readonly value: string
  readonly place: string
}

/** A whole file, the last word on each setting. */
export interface Ini {
  readonly settings: ReadonlyMap<string, Said>
  readonly databases: ReadonlyMap<string, Said>
  readonly users: ReadonlyMap<string, Said>
  readonly peers: ReadonlyMap<string, Said>
}

const SECTIONS = ['pgbouncer', 'databases', 'users', 'peers']
/** PgBouncer's other place for its console is a word of its own there, and both are here. */
const PORT_MAX = 65_535
const RESERVED = ['pgbouncer', 'pgmux']

/** Puts entries in their sections. @throws ImportError */
export function gather(entries: readonly IniEntry[], name: string): Ini {
  const sections = Object.fromEntries(SECTIONS.map((section) => [section, new Map<string, Said>()]))
  let current: Map<string, Said> | null = null
  let isMain = false
  let hasMain = false
  for (const { kind, name: key, value, place } of entries) {
    if (kind === 'section') {
      if (!SECTIONS.includes(key))
        throw new ImportError(`${place}: [${shown(key)}]: ${unknownName(key, SECTIONS, 'section')}`)
      current = sections[key]!
      isMain = key === 'pgbouncer'
      hasMain ||= isMain
      // So does PgBouncer: the section begins with its defaults, each time.
      if (isMain) current.clear()
    } else if (current === null)
      throw new ImportError(`${place}: ${shown(key)}: no [section] stands above it`)
    else if (isMain && !SETTINGS.has(key))
      throw new ImportError(`${place}: ${shown(key)}: ${unknownName(key, [...SETTINGS.keys()], 'setting')}`)
    else current.set(key, { value, place })
  }
  if (!hasMain) throw new ImportError(`${name}:1: has no section [pgbouncer]`)
  const { pgbouncer: settings, databases, users, peers } = sections as Record<string, Map<string, Said>>
  return { settings: settings!, databases: databases!, users: users!, peers: peers! }
}

/** @param fileAt the whole name of a file that PgBouncer would look for */
export function convert(ini: Ini, fileAt: (name: string, place: string) => string): Converted {
  const converted: Converted = { lines: [], left: [], warnings: [] }
  const others: Others = { of: (name) => ini.settings.get(name)?.value ?? SETTINGS.get(name)?.fallback ?? '' }
  for (const setting of SETTINGS.values()) {
    const said = ini.settings.get(setting.name)
    const { fallback = '' } = setting
    const { value, place } = said ?? { value: fallback, place: '' }
    const read = readValue(setting, value, place)
    const isFile = setting.reads === 'file' && setting.to !== undefined && read !== ''
    const found = isFile ? fileAt(String(read), place) : read
    const remark =
      said === undefined ? `${setting.name}: PgBouncer's default` : `${setting.name} = ${shown(value)}`
    put(converted, { setting, read: found, place, path: [], remark, isSaid: said !== undefined, others })
  }
  for (const [name, said] of ini.databases)
    putNamed(converted, ['databases', name], { said, table: DATABASE_KEYS, others })
  for (const [name, said] of ini.users)
    putNamed(converted, ['users', name], { said, table: USER_KEYS, others })
  for (const [id, said] of ini.peers) putPeer(converted, id, said)
  const remark = 'WebSocket and HTTP: PgBouncer has no such port; take this out to open 127.0.0.1:6480'
  converted.lines.push({ path: ['serverless', 'host'], value: 'off', remark })
  return converted
}

interface Found {
  readonly setting: Setting
  readonly read: Read
  readonly place: string
  /** In front of the key. */
  readonly path: readonly string[]
  readonly remark: string
  readonly isSaid: boolean
  readonly others: Others
}

/** Writes a setting to its keys, or why it has none. */
function put(into: Converted, found: Found): void {
  const { setting, read, place, path, remark, isSaid, others } = found
  const { to = [], note = '', as } = setting
  const value = as === undefined ? (read as Value) : as(read as never, others)
  const because = note === '' ? remark : `${remark}; ${note}`
  if (to.length > 0 && value !== null) {
    for (const key of to) {
      const whole = path.length > 0 ? [...path, key] : key.split('.')
      if (isSaid || !isDefault(whole, value)) into.lines.push({ path: whole, value, remark: because })
    }
    return
  }
  if (!isSaid) return
  const at = path.length > 0 ? `${path.join('.')}: ` : ''
  into.left.push(`${at}${because}`)
  const isOther = String(read) !== setting.fallback && !(setting.reads === 'integer' && read === 0)
  if (setting.isMissed && isOther) into.warnings.push(`${place}: ${at}${setting.name}: ${note}`)
}

/** What our default says already needs no line. */
function isDefault(path: readonly string[], value: Value): boolean {
  const option = optionAt(path)
  if (option?.fallback === undefined) return false
  if (option.kind === 'duration')
    return parseDuration(String(value)) === parseDuration(String(option.fallback))
  return value === option.fallback
}

/** A line of [databases] or [users]. */
function putNamed(
  into: Converted,
  path: readonly [string, string],
  given: { said: Said; table: readonly Setting[]; others: Others },
): void {
  const { said, table, others } = given
  const { place } = said
  const [section, name] = path
  if (name === '') throw new ImportError(`${place}: a name is missing in front of =`)
  if (section === 'databases' && RESERVED.includes(name))
    throw new ImportError(`${place}: the database name "${name}" is the console's`)
  const pairs = new Map(pairsOf(said, table))
  const ofPairs: Others = { of: (key) => pairs.get(key) ?? others.of(key) }
  const before = into.lines.length
  for (const [key, value] of pairs) {
    const setting = table.find((each) => each.name === key)!
    const read = readValue(setting, value, place)
    const remark = key === 'password' || key === 'connect_query' ? key : `${key} = ${shown(value)}`
    put(into, { setting, read, place, path, remark, isSaid: true, others: ofPairs })
  }
  if (section === 'databases') finishDatabase(into, { path, pairs: ofPairs, place, before })
}

/** What PgBouncer does where a database says nothing, and where it says more than one host. */
function finishDatabase(
  into: Converted,
  given: { path: readonly string[]; pairs: Others; place: string; before: number },
): void {
  const { path, pairs, place, before } = given
  const host = pairs.of('host')
  if (host === '')
    into.lines.splice(before, 0, {
      path: [...path, 'host'],
      value: pairs.of('unix_socket_dir') || '/tmp',
      remark: 'no host: the Unix socket in unix_socket_dir',
    })
  if (host.includes(',')) into.warnings.push(`${place}: host: one host; of this list the first is used`)
  if (host.startsWith('@'))
    into.warnings.push(`${place}: host: an abstract Unix socket cannot be reached from here`)
  clampMinSize(into.lines, before)
  if (into.lines.slice(before).some((line) => line.path[2] === 'user')) limitForced(into, path, before)
}

/** There, all clients of a database with a user of its own share one pool. */
function limitForced({ lines }: Converted, path: readonly string[], before: number): void {
  const numberOf = (own: string, all: string, fallback: number): number => {
    const found =
      lines.slice(before).find((line) => line.path[2] === own) ??
      lines.find((line) => line.path.join('.') === all)
    return found === undefined ? fallback : Number(found.value)
  }
  const size = numberOf('pool_size', 'pool.size', 20) + numberOf('reserve_size', 'pool.reserve_size', 0)
  const most = numberOf('max_servers', 'pool.max_servers_per_database', 0)
  if (most > 0 && most <= size) return
  const remark = 'one pool for all clients there: the size of that pool'
  lines.push({ path: [...path, 'max_servers'], value: Math.min(size, MOST_SERVERS), remark })
}

/** PgBouncer takes the smaller of both; here the one above the other is an error. */
function clampMinSize(lines: Line[], before: number): void {
  const own = lines.slice(before)
  const global = lines.find(({ path }) => path.join('.') === 'pool.size')?.value
  const size = own.find(({ path }) => path[2] === 'pool_size')?.value ?? global ?? 20
  const at = lines.findIndex(({ path }, i) => i >= before && path[2] === 'min_pool_size')
  if (at >= 0 && lines[at]!.value > size) lines[at] = { ...lines[at]!, value: size }
}

function putPeer(into: Converted, id: string, said: Said): void {
  if (!/^[1-9]\d{0,4}$/.test(id)) throw new ImportError(`${said.place}: a peer has a number, from 1 to 65535`)
  for (const [key, value] of pairsOf(said, PEER_KEYS))
    readValue(PEER_KEYS.find((each) => each.name === key)!, value, said.place)
  into.left.push(`[peers] ${id}: cancel keys are known to the processes of one pgmux only`)
}

/** The last word on each key. */
function pairsOf({ value, place }: Said, table: readonly Setting[]): [string, string][] {
  const names = table.map(({ name }) => name)
  const pairs = readPairs(value, place)
  // What is no key may be a piece of a password: it is not shown, only what was probably meant.
  for (const [key] of pairs) {
    if (names.includes(key)) continue
    const near = nearestName(key, names)
    throw new ImportError(
      `${place}: unknown key${near === null ? '' : `, did you mean "${near}"?`}; known: ${names.join(', ')}`,
    )
  }
  return pairs
}

/** @throws ImportError where PgBouncer would not take it */
function readValue({ name, reads }: Setting, text: string, place: string): Read {
  const at = `${place}: ${name}: `
  if (reads === 'text' || reads === 'file') return text
  if (reads === 'atoi') {
    const number = readAtoi(text)
    if (name === 'port' && (number < 1 || number > PORT_MAX))
      throw new ImportError(`${at}expects a number from 1 to ${PORT_MAX}`)
    return number
  }
  const read =
    reads === 'integer' ? readInteger(text) : reads === 'seconds' ? readSeconds(text) : readWord(text, reads)
  // PgBouncer would listen elsewhere, or nowhere.
  if (name === 'listen_port' && typeof read === 'number' && (read < 0 || read > PORT_MAX))
    throw new ImportError(`${at}expects a number from 0 to ${PORT_MAX}`)
  if (read !== null) return read
  const wanted =
    reads === 'integer' ? 'a whole number' : reads === 'seconds' ? 'seconds' : `one of ${reads.join(', ')}`
  throw new ImportError(`${at}expects ${wanted}`)
}
