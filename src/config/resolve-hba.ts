// Reads the files of client.hba_file and client.ident_file with what they include, and reports each problem
// at its line. A file with a problem is refused as a whole: without one of its lines the others may let in
// whom that line refuses.
import { readdirSync } from 'node:fs'
import { dirname, isAbsolute, join } from 'node:path'
import { readFileNow } from '../util/read-file.ts'
import { type AuthFiles, type AuthLine, readAuthFile } from './auth-file.ts'
import { parseHbaLine } from './hba-file.ts'
import { parseIdentLine } from './ident-file.ts'
import { type Path, type ResolveContext, locate, reasonOf, rule } from './rules.ts'
import type { HbaRule, UserMapLine } from './types.ts'

/** Bytes of one file. */
const MAX_FILE = 4 * 1024 * 1024
const MAX_PROBLEMS = 20
const HBA: Path = ['client', 'hba_file']
const IDENT: Path = ['client', 'ident_file']

/** The rules besides which the lines have to make sense. */
export interface HbaFacts {
  readonly hasTls: boolean
  /** Authorities for the certificates of clients are known. */
  readonly hasCa: boolean
  /** Null: there is no file with user name maps. */
  readonly maps: readonly UserMapLine[] | null
}

/** The rules of a file; after problems were reported they are not to be used. */
export function readHba(context: ResolveContext, name: string, facts: HbaFacts): readonly HbaRule[] {
  const lines = readLines(context, HBA, name)
  if (lines === null) return []
  const rules: HbaRule[] = []
  const problems: string[] = []
  for (const line of lines) {
    const parsed = parseHbaLine(line)
    if (parsed === null) {
      context.layers.warnings.push(`${line.place}: hostgssenc never matches: pgmux has no GSS encryption`)
    } else if ('error' in parsed) problems.push(`${line.place}: ${parsed.error}`)
    else {
      problems.push(...missing(parsed, facts).map((text) => `${line.place}: ${text}`))
      context.layers.warnings.push(...doubts(parsed, facts).map((text) => `${line.place}: ${text}`))
      rules.push(parsed)
    }
  }
  if (problems.length === 0 && rules.length === 0)
    problems.push(`${name}:1: contains no entries: nobody could log in`)
  report(context, problems)
  return rules
}

/** The user name maps of a file; after problems were reported they are not to be used. */
export function readIdent(context: ResolveContext, name: string): readonly UserMapLine[] {
  const lines = readLines(context, IDENT, name)
  const maps: UserMapLine[] = []
  const problems: string[] = []
  for (const line of lines ?? []) {
    const parsed = parseIdentLine(line)
    if ('error' in parsed) problems.push(`${line.place}: ${parsed.error}`)
    else maps.push(parsed)
  }
  report(context, problems)
  return maps
}

function readLines(context: ResolveContext, path: Path, name: string): readonly AuthLine[] | null {
  const files = filesFor(context, path)
  const first = files.text(name)
  rule(context, [path], 'error' in first, 'error' in first ? `cannot read ${name}: ${first.error}` : '')
  if ('error' in first) return null
  const { lines, problems } = readAuthFile(name, files)
  report(context, problems)
  return problems.length === 0 ? lines : null
}

function report(context: ResolveContext, problems: readonly string[]): void {
  context.layers.problems.push(...problems.slice(0, MAX_PROBLEMS))
  const more = problems.length - MAX_PROBLEMS
  if (more > 0) context.layers.problems.push(`and ${more} more problems in the lines of that file`)
}

function missing({ method, clientCert, certMap }: HbaRule, facts: HbaFacts): string[] {
  const texts: string[] = []
  if (clientCert !== 'no' && !facts.hasCa) {
    const what = method === 'cert' ? 'cert' : `clientcert=${clientCert}`
    texts.push(`${what} needs the authorities of the certificates: set client.tls.ca_file`)
  }
  if (certMap !== '' && facts.maps === null)
    texts.push(`map=${certMap} names a map, but client.ident_file is empty`)
  return texts
}

function doubts({ connection, certMap }: HbaRule, facts: HbaFacts): string[] {
  const texts: string[] = []
  if (connection === 'hostssl' && !facts.hasTls)
    texts.push('hostssl never matches while client.tls.mode is disable')
  if (certMap !== '' && facts.maps !== null && !facts.maps.some(({ map }) => map === certMap))
    texts.push(`client.ident_file has no map "${certMap}": the line lets nobody in`)
  return texts
}

/** Names stay as they were written, so that problems show them so; they are located to be read. */
function filesFor(context: ResolveContext, path: Path): AuthFiles {
  const failed = (error: unknown) => ({
    error: reasonOf(error),
    isMissing: (error as NodeJS.ErrnoException).code === 'ENOENT',
  })
  return {
    text: (name) => {
      try {
        return decode(readFileNow(locate(context, path, name), MAX_FILE))
      } catch (error) {
        return failed(error)
      }
    },
    list: (name) => {
      try {
        const entries = readdirSync(locate(context, path, name), { withFileTypes: true })
        return { value: entries.filter((entry) => !entry.isDirectory()).map((entry) => entry.name) }
      } catch (error) {
        return failed(error)
      }
    },
    beside: (outer, name) => (isAbsolute(name) ? name : join(dirname(outer), name)),
  }
}

/** Names that are no UTF-8 could be taken for each other. */
function decode(bytes: Buffer): ReturnType<AuthFiles['text']> {
  try {
    return { value: new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(bytes) }
  } catch {
    return { error: 'it is not in UTF-8', isMissing: false }
  }
}
