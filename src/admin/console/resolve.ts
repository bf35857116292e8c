// From the tokens of a statement to the command that is meant, with its argument. Pure. It runs nothing and
// asks for no right: that is done where commands are run.
import { nearestName } from '../../config/problems.ts'
import { COMMANDS, NOT_BUILT } from './commands.ts'
import { driverStatement } from './drivers.ts'
import { readStatements, type Token } from './lexer.ts'
import { type Command, ConsoleError, DEFAULT, type Filter, type Statement, type Takes } from './types.ts'

const BY_NAME: ReadonlyMap<string, Command> = new Map(COMMANDS.map((command) => [command.name, command]))
const NOT_BUILT_NAMES: ReadonlyMap<string, string> = new Map(NOT_BUILT)
const SHUTDOWN_MODES = ['WAIT_FOR_SERVERS', 'WAIT_FOR_CLIENTS']
const SHOWN_MAX = 80

/** The statements of a query. @throws ConsoleError for the first that is none */
export function resolveAll(text: string): Statement[] {
  const statements = readStatements(text).map(resolve)
  const commands = statements.filter(({ command }) => command !== null)
  // Only a text without any statement is answered as an empty one.
  return commands.length > 0 ? commands : [{ command: null, argument: '' }]
}

/** One statement, as Parse brings it. @throws ConsoleError */
export function resolveOne(text: string): Statement {
  const statements = readStatements(text)
  if (statements.length > 1)
    throw new ConsoleError('42601', 'cannot insert multiple commands into a prepared statement')
  return resolve(statements[0])
}

function resolve(tokens: readonly Token[]): Statement {
  if (tokens.length === 0) return { command: null, argument: '' }
  const words = tokens.map(({ kind, text }) => (kind === 'word' ? text.toUpperCase() : ''))
  // PgBouncer takes SELECT for SHOW.
  const first = words[0] === 'SELECT' ? 'SHOW' : words[0]
  const pair = `${first} ${words[1] ?? ''}`
  for (const [name, length] of [
    [pair, 2],
    [first, 1],
  ] as const) {
    const command = BY_NAME.get(name)
    if (command?.takes === 'setting')
      return driverStatement(tokens, words) ?? { command, argument: settingOf(command, tokens.slice(length)) }
    if (command?.takes === 'filters')
      return { command, argument: '', filters: readFilters(command, tokens.slice(length)) }
    if (command !== undefined) return { command, argument: argumentOf(command, tokens.slice(length)) }
    const reason = NOT_BUILT_NAMES.get(name)
    if (reason !== undefined) throw new ConsoleError('0A000', `${name} is not supported by pgmux`, reason)
  }
  return driverStatement(tokens, words) ?? unknown(tokens, first, pair)
}

function argumentOf(command: Command, rest: readonly Token[]): string {
  const { name, takes } = command
  if (takes === 'anything') return rest.map(({ text }) => text).join(' ')
  const [token] = rest
  if (rest.length > 1 || (takes === 'nothing' && token !== undefined)) {
    throw syntaxError(rest.at(-1)?.text ?? '', command)
  }
  if (token === undefined) {
    if (takes === 'database' || takes === 'id')
      throw new ConsoleError('42601', `${name} needs ${NEEDS[takes]}`, usage(command))
    return ''
  }
  if (takes === 'mode?' && !SHUTDOWN_MODES.includes(token.text.toUpperCase())) {
    throw syntaxError(token.text, command)
  }
  return token.text
}

/** `pool.size = 20`, `pool_size TO 20` as `name=value`. */
function settingOf(command: Command, rest: readonly Token[]): string {
  const [name, sign, value, ...more] = rest
  const isSet = sign?.text === '=' || sign?.text.toUpperCase() === 'TO'
  if (!isSet || value === undefined || value.kind === 'sign' || more.length > 0)
    throw syntaxError(rest.at(-1)?.text ?? '', command)
  const isDefault = value.kind === 'word' && value.text.toUpperCase() === 'DEFAULT'
  return `${name.text.toLowerCase()}=${isDefault ? DEFAULT : value.text}`
}

/** `user=app state=waiting`, by names of columns. */
function readFilters(command: Command, rest: readonly Token[]): Filter[] {
  const filters: Filter[] = []
  for (let at = 0; at < rest.length; at += 3) {
    const [name, sign, value] = rest.slice(at, at + 3)
    const column = (command.columns ?? []).findIndex((each) => each.name === name.text.toLowerCase())
    if (column < 0 || sign?.text !== '=' || value === undefined || value.kind === 'sign')
      throw syntaxError(name.text, command)
    filters.push({ column, value: value.text })
  }
  return filters
}

function syntaxError(near: string, command: Command): ConsoleError {
  return new ConsoleError('42601', `syntax error at or near "${shown(near)}"`, usage(command))
}

const NEEDS: Readonly<Record<Takes, string>> = {
  nothing: '',
  filters: '[column=value ...]',
  database: 'the name of a database',
  'database?': '[the name of a database]',
  id: 'the id of a client from SHOW CLIENTS',
  'mode?': `[${SHUTDOWN_MODES.join(' | ')}]`,
  setting: 'option = value (DEFAULT: as the configuration has it)',
  anything: '',
}

function usage({ name, takes, columns = [] }: Command): string {
  const names = takes === 'filters' ? ` Columns: ${columns.map((column) => column.name).join(', ')}` : ''
  return `Usage: ${name} ${NEEDS[takes]}${names}`.trimEnd()
}

function unknown(tokens: readonly Token[], first: string, pair: string): never {
  const asked = first === 'SHOW' ? pair : first
  const near = nearestName(asked, [...BY_NAME.keys()])
  const text = shown(tokens.map((token) => token.text).join(' '))
  const meant = near === null ? '' : `Did you mean ${near}? `
  throw new ConsoleError(
    '42601',
    `invalid command '${text}', use SHOW HELP;`,
    `${meant}This is the console of pgmux, not a Postgres. It knows: ${listed()}.`,
  )
}

/** All names, those of SHOW in one go. */
function listed(): string {
  const names = [...BY_NAME.keys()]
  const shows = names.filter((name) => name.startsWith('SHOW ')).map((name) => name.slice('SHOW '.length))
  return [`SHOW ${shows.join('|')}`, ...names.filter((name) => !name.startsWith('SHOW '))].join(', ')
}

function shown(text: string): string {
  return text.length > SHOWN_MAX ? `${text.slice(0, SHOWN_MAX)}...` : text
}
