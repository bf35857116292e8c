// `pgmux import`: a pgbouncer.ini, and the files that it names, to the text of a config.yaml that behaves
// the same. Reads files, writes none. No password stands in a comment or a warning.
import { existsSync } from 'node:fs'
import { homedir } from 'node:os'
import { basename, dirname, isAbsolute, join, resolve } from 'node:path'
import { readFileNow } from '../../util/read-file.ts'
import { readAuthFile } from '../auth-file.ts'
import { parseHbaLine } from '../hba-file.ts'
import { reasonOf } from '../rules.ts'
import { isLoopbackHost, namesIn } from '../units.ts'
import { parseUserList } from '../userlist.ts'
import { type Converted, convert, gather, type Ini, type Line } from './convert.ts'
import { ImportError, readIni, type ReadText } from './ini.ts'
import { readPgbouncerUsers } from './userlist.ts'
import { readPairs } from './ini.ts'
import { writeYaml } from './write.ts'

export { ImportError } from './ini.ts'

export interface Imported {
  readonly yaml: string
  /** One sentence each, with its place. */
  readonly warnings: readonly string[]
}

/** @throws ImportError one sentence with file and line, where PgBouncer would not start with this file */
export function importIni(file: string): Imported {
  const ini = gather(readIni(file, readText), file)
  const missing: string[] = []
  const converted = convert(ini, (name, place) =>
    wholeName(file, name, (text) => missing.push(`${place}: ${text}`)),
  )
  const all: Converted = { ...converted, warnings: [...missing, ...converted.warnings] }
  takeUsers(all)
  lookAtHba(all)
  takeAuthUser(ini, all)
  lookAtDoors(ini, all, file)
  return { yaml: writeYaml(all, basename(file)), warnings: all.warnings }
}

const readText: ReadText = (name) => {
  try {
    return { text: new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(readFileNow(name)) }
  } catch (error) {
    return { error: error instanceof TypeError ? 'it is not in UTF-8' : reasonOf(error) }
  }
}

/** As PgBouncer looks for it: from where it runs. If nothing is there, beside the file that names it. */
function wholeName(file: string, name: string, warn: (text: string) => void): string {
  if (/^~[^/]/.test(name)) warn(`${name}: the folder of another user is not looked for; write the whole name`)
  const expanded = /^~(\/|$)/.test(name) ? join(homedir(), name.slice(1)) : name
  const here = resolve(expanded)
  const beside = resolve(dirname(file), expanded)
  if (existsSync(here)) return here
  if (!existsSync(beside)) warn(`there is no file ${here} on this machine`)
  else if (!isAbsolute(expanded))
    warn(`${name} was found beside ${basename(file)}; PgBouncer looks where it runs`)
  return existsSync(beside) ? beside : here
}

const at = (converted: Converted, key: string): Line | undefined =>
  converted.lines.find(({ path }) => path.join('.') === key)

function drop(converted: Converted, key: string): void {
  const index = converted.lines.findIndex(({ path }) => path.join('.') === key)
  if (index >= 0) converted.lines.splice(index, 1)
}

/** The list of users is named, where it says the same to both; otherwise its users are written out. */
function takeUsers(converted: Converted): void {
  const line = at(converted, 'client.users_file')
  if (line === undefined) return
  const file = String(line.value)
  const read = file === '' ? { error: '' } : readText(file)
  if ('error' in read) {
    drop(converted, 'client.users_file')
    if (read.error !== '')
      converted.warnings.push(`auth_file: cannot read ${file}: ${read.error}: no user is in it`)
    return
  }
  const { users, brokenLine } = readPgbouncerUsers(read.text)
  if (brokenLine > 0)
    converted.warnings.push(
      `${file}:${brokenLine}: PgBouncer reads no further than this line: it expects "user" "secret"`,
    )
  const ours = parseUserList(read.text)
  const isSame = ours.problems.length === 0 && ours.users.size === users.size
  if (isSame && [...users].every(([name, secret]) => ours.users.get(name) === secret)) return
  drop(converted, 'client.users_file')
  const [problem] = ours.problems
  const why = problem === undefined ? 'means something else here' : `line ${problem.line}: ${problem.text}`
  const remark = `from ${basename(file)}, which pgmux would not read as PgBouncer does (${why})`
  for (const [name, secret] of users) {
    if (secret !== '' && name !== '')
      converted.lines.push({ path: ['users', name, 'secret'], value: secret, remark })
  }
}

/** A line that PgBouncer leaves out refuses the file here. */
function lookAtHba(converted: Converted): void {
  const line = at(converted, 'client.hba_file')
  if (line === undefined) return
  const { lines, problems } = readAuthFile(String(line.value), {
    text: (name) => {
      const read = readText(name)
      return 'error' in read ? { error: read.error, isMissing: false } : { value: read.text }
    },
    list: () => ({ error: 'include_dir is not looked into here', isMissing: false }),
    beside: (outer, name) => (isAbsolute(name) ? name : join(dirname(outer), name)),
  })
  const wrong = lines.flatMap((each) => {
    const rule = parseHbaLine(each)
    return rule !== null && 'error' in rule ? [`${each.place}: ${rule.error}`] : []
  })
  for (const text of [...problems, ...wrong])
    converted.warnings.push(
      `${text} (PgBouncer may leave this line out; pgmux refuses the file until it is changed)`,
    )
}

/** One user asks for the secrets, for all databases: taken from them if they agree. */
function takeAuthUser(ini: Ini, converted: Converted): void {
  const asked = [...ini.databases.values()].map(({ value, place }) =>
    new Map(readPairs(value, place)).get('auth_user'),
  )
  const [first] = asked
  const global = ini.settings.get('auth_user')?.value ?? ''
  if (global === '') drop(converted, 'client.auth_query.user')
  if (global !== '' || first === undefined || asked.some((user) => user !== first)) return
  const query = ini.settings.get('auth_query')?.value ?? ''
  const remark = 'auth_user of every database'
  converted.lines.push({ path: ['client', 'auth_query', 'user'], value: first, remark })
  if (query !== '')
    converted.lines.push({ path: ['client', 'auth_query', 'query'], value: query, remark: 'auth_query' })
  for (const list of [converted.warnings, converted.left])
    list.splice(0, list.length, ...list.filter((text) => !/(^| )auth_user( =|:) |^auth_query = /.test(text)))
}

/** Who comes in, and where to. */
function lookAtDoors(ini: Ini, converted: Converted, file: string): void {
  const { warnings, lines } = converted
  const placeOf = (name: string): string => ini.settings.get(name)?.place ?? file
  const hosts = namesIn(String(at(converted, 'listen.host')?.value ?? ''))
  const type = ini.settings.get('auth_type')?.value.toLowerCase() ?? 'md5'
  if (at(converted, 'client.auth')?.value === 'trust' && !hosts.every(isLoopbackHost))
    warnings.push(
      `${placeOf('auth_type')}: auth_type ${type} lets everybody in from other machines: pgmux refuses ` +
        'that; choose another client.auth',
    )
  if (type === 'pam' || type === 'ldap')
    warnings.push(
      `${placeOf('auth_type')}: auth_type ${type} is not there: give the users secrets, or use auth_query`,
    )
  if (type === 'hba' && at(converted, 'client.hba_file') === undefined) {
    throw new ImportError(`${placeOf('auth_type')}: auth_type hba needs auth_hba_file`)
  }
  if (placeOf('listen_addr') === file || ini.settings.get('listen_addr')?.value === '')
    warnings.push(
      `${placeOf('listen_addr')}: listen_addr is empty, which is the Unix socket alone: here 127.0.0.1 ` +
        'is open as well',
    )
  if (
    String(at(converted, 'listen.unix_socket_dir')?.value) === '' &&
    (ini.settings.get('unix_socket_dir')?.value ?? '') !== ''
  )
    warnings.push(`${placeOf('unix_socket_dir')}: unix_socket_dir: there are no abstract Unix sockets here`)
  if (!lines.some(({ path }) => path[0] === 'databases'))
    warnings.push(
      `${file}: has no database; without one, and without an upstream, pgmux starts a Postgres of its own`,
    )
}
