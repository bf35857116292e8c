// What a line of pg_hba.conf means. Pure. Follows Postgres 17: its words where it would complain too, ours
// where we cannot do what it can. The value of an option never stands in a problem: it may be a secret.
import { type IpBytes, maskOf, parseIp } from '../util/ip.ts'
import { compileRegex } from '../util/regex.ts'
import type { AuthLine, Token } from './auth-file.ts'
import type { HbaAddress, HbaMethod, HbaNames, HbaRule } from './types.ts'

/** Why a line cannot be used. */
class LineError extends Error {}

const METHODS: readonly string[] = ['trust', 'reject', 'password', 'md5', 'scram-sha-256', 'cert']
/** Methods of Postgres that need somebody whom a pooler cannot ask. */
const FOREIGN = ['ident', 'peer', 'gss', 'sspi', 'pam', 'bsd', 'ldap', 'radius', 'oauth']
const CONNECTIONS: Readonly<Record<string, HbaRule['connection'] | 'never'>> = {
  local: 'local',
  host: 'host',
  hostssl: 'hostssl',
  hostnossl: 'hostnossl',
  // Nobody comes with GSS encryption: pgmux offers none.
  hostgssenc: 'never',
  hostnogssenc: 'host',
}
const NO_ROLES = 'pgmux does not know the members of roles; write the names of the users, or @file'

/** @returns the rule, null where it can never match, or why it cannot be used */
export function parseHbaLine({ fields }: AuthLine): HbaRule | null | { readonly error: string } {
  try {
    return new LineParser(fields).parse()
  } catch (error) {
    if (error instanceof LineError) return { error: error.message }
    throw error
  }
}

class LineParser {
  readonly #fields: readonly (readonly Token[])[]
  #at = 0

  constructor(fields: readonly (readonly Token[])[]) {
    this.#fields = fields
  }

  parse(): HbaRule | null {
    const connection = this.#connection()
    const databases = this.#names('database', databaseNames)
    const users = this.#names('role', userNames)
    const from = connection === 'local' ? ({ kind: 'all' } as const) : this.#address()
    const method = this.#method(connection)
    const rule = { connection, databases, users, from, method, ...this.#options(connection, method) }
    return rule.connection === 'never' ? null : { ...rule, connection: rule.connection }
  }

  /** The next field, which must be there. */
  #field(what: string): readonly Token[] {
    const field = this.#fields[this.#at++]
    if (field === undefined) throw new LineError(`end-of-line before ${what}`)
    return field
  }

  /** The next field, which must have one value. */
  #single(what: string, several = what): Token {
    const [token, second] = this.#field(what)
    if (token === undefined || second !== undefined)
      throw new LineError(`multiple values specified for ${several}`)
    return token
  }

  #connection(): HbaRule['connection'] | 'never' {
    const { text } = this.#single('connection type')
    const connection = Object.hasOwn(CONNECTIONS, text) ? CONNECTIONS[text] : undefined
    if (connection === undefined) throw new LineError(`invalid connection type "${text}"`)
    return connection
  }

  #names(what: string, read: (tokens: readonly Token[]) => HbaNames): HbaNames {
    return read(this.#field(`${what} specification`))
  }

  #address(): HbaAddress {
    const { text, isQuoted } = this.#single('IP address specification', 'host address')
    if (!isQuoted && (text === 'all' || text === 'samehost' || text === 'samenet')) return { kind: text }
    const slash = text.indexOf('/')
    const host = slash < 0 ? text : text.slice(0, slash)
    const network = parseIp(host)
    if (network === null) throw new LineError(noAddress(host))
    if (slash < 0) return { kind: 'network', network, mask: this.#mask(network) }
    const bits = text.slice(slash + 1)
    const mask = /^\s*[+-]?[0-9]+$/.test(bits) ? maskOf(Number(bits), network.length) : null
    if (mask === null) throw new LineError(`invalid CIDR mask in address "${text}"`)
    return { kind: 'network', network, mask }
  }

  /** The mask in a column of its own. */
  #mask(network: IpBytes): IpBytes {
    const { text } = this.#single('netmask specification', 'netmask')
    const mask = parseIp(text)
    if (mask === null) throw new LineError(`invalid IP mask "${text}"`)
    if (mask.length !== network.length) throw new LineError('IP address and mask do not match')
    return mask
  }

  #method(connection: string): HbaMethod {
    const { text } = this.#single('authentication method', 'authentication type')
    if (FOREIGN.includes(text)) {
      const instead = 'use trust, reject, password, md5, scram-sha-256 or cert'
      throw new LineError(`authentication method "${text}" is not possible here; ${instead}`)
    }
    if (!METHODS.includes(text)) throw new LineError(`invalid authentication method "${text}"`)
    if (text === 'cert' && connection !== 'hostssl')
      throw new LineError('cert authentication is only supported on hostssl connections')
    return text as HbaMethod
  }

  #options(connection: string, method: HbaMethod): Pick<HbaRule, 'clientCert' | 'certMap' | 'certName'> {
    let clientCert: HbaRule['clientCert'] = 'no'
    let certMap = ''
    let certName: HbaRule['certName'] = 'CN'
    for (const { text } of this.#fields.slice(this.#at).flat()) {
      const equals = text.indexOf('=')
      // The text is not shown: it may be the rest of a secret.
      if (equals < 0) throw new LineError('authentication option not in name=value format')
      const name = text.slice(0, equals)
      const value = text.slice(equals + 1)
      if ((name === 'clientcert' || name === 'clientname') && connection !== 'hostssl')
        throw new LineError(`${name} can only be configured for "hostssl" rows`)
      if (name === 'clientcert') clientCert = readClientCert(value, method)
      else if (name === 'clientname') certName = readClientName(value)
      else if (name === 'map') certMap = readMap(value, method)
      else throw new LineError(`unrecognized authentication option name: "${name}"`)
    }
    return { clientCert: method === 'cert' ? 'verify-full' : clientCert, certMap, certName }
  }
}

function readClientCert(value: string, method: HbaMethod): HbaRule['clientCert'] {
  if (value !== 'verify-ca' && value !== 'verify-full')
    throw new LineError('invalid value for clientcert: use verify-ca or verify-full')
  if (value === 'verify-ca' && method === 'cert')
    throw new LineError('clientcert only accepts "verify-full" when using "cert" authentication')
  return value
}

function readClientName(value: string): 'CN' | 'DN' {
  if (value === 'CN' || value === 'DN') return value
  throw new LineError('invalid value for clientname: use CN or DN')
}

function readMap(value: string, method: HbaMethod): string {
  if (method === 'cert') return value
  throw new LineError('authentication option "map" is only valid for authentication method cert')
}

function databaseNames(tokens: readonly Token[]): HbaNames {
  const isMember = (text: string): boolean => text === 'samerole' || text === 'samegroup'
  const member = tokens.find(({ text, isQuoted }) => !isQuoted && isMember(text))
  if (member !== undefined) throw new LineError(`${member.text} cannot be used: ${NO_ROLES}`)
  return names(tokens, ['all', 'sameuser', 'replication'])
}

function userNames(tokens: readonly Token[]): HbaNames {
  const member = tokens.find(({ text, isQuoted }) => !isQuoted && text.startsWith('+'))
  if (member !== undefined) throw new LineError(`${member.text} cannot be used: ${NO_ROLES}`)
  return names(tokens, ['all'])
}

/** @param keywords what is no name, unless it is quoted */
function names(tokens: readonly Token[], keywords: readonly string[]): HbaNames {
  const isKeyword = ({ text, isQuoted }: Token): boolean => !isQuoted && keywords.includes(text)
  const said = new Set(tokens.filter(isKeyword).map(({ text }) => text))
  const others = tokens.filter((token) => !isKeyword(token)).map(({ text }) => text)
  return {
    all: said.has('all'),
    sameUser: said.has('sameuser'),
    replication: said.has('replication'),
    exact: new Set(others.filter((text) => !text.startsWith('/'))),
    patterns: others.filter((text) => text.startsWith('/')).map((text) => pattern(text.slice(1))),
  }
}

function pattern(source: string): HbaNames['patterns'][number] {
  const compiled = compileRegex(source)
  if (compiled instanceof Error)
    throw new LineError(`invalid regular expression "${source}": ${compiled.message}`)
  return compiled
}

function noAddress(host: string): string {
  return `"${host}" is not an IP address; host names are not looked up, write the address of the machine`
}
