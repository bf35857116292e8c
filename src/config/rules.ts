// What the rules between keys share: reporting a problem at its place in the configuration, and reading
// the files that it names. Opens no socket. The content of a file never stands in a problem.

import { accessSync, constants } from 'node:fs'
import { dirname, resolve as resolvePath } from 'node:path'
import { readFileNow } from '../util/read-file.ts'
import { type Layers, RANK } from './layers.ts'

export type Path = readonly string[]

const READ_ERRORS: Readonly<Record<string, string>> = {
  ENOENT: 'there is no such file',
  EACCES: 'this user may not read it',
  EISDIR: 'it is a folder',
}
/** Of readFileNow, in words already. */
const OWN_ERRORS: ReadonlySet<string> = new Set(['EFBIG', 'ESPIPE'])

/** What the rules need. */
export interface ResolveContext {
  layers: Layers
  /** The file, or '' : relative file names in it start from its folder. */
  file: string
  /** True where people read the log. */
  terminal: boolean
}

/** Reports `text` at the first of `paths`, unless one of them was wrong in itself. */
export function rule(context: ResolveContext, paths: readonly Path[], violated: boolean, text: string): void {
  if (!violated || paths.some((path) => context.layers.broken.has(path.join('.')))) return
  context.layers.problems.push(`${context.layers.place(paths[0]!)}: ${text}`)
}

/** A file name as absolute path: from the folder of the configuration, or where we run. */
export function locate(context: ResolveContext, path: Path, name: string): string {
  if (name === '') return ''
  const fromFile = context.layers.rank(path) === RANK.file
  return fromFile ? resolvePath(dirname(context.file), name) : resolvePath(name)
}

/** Why a file cannot be read, in words. */
export function reasonOf(error: unknown): string {
  const { code = 'unknown error', message } = error as NodeJS.ErrnoException
  return OWN_ERRORS.has(code) ? message : (READ_ERRORS[code] ?? code)
}

function unreadable(name: string, error: unknown): string {
  return `cannot read ${name}: ${reasonOf(error)}`
}

/** The text of a file; null after a problem was reported at `path`. */
export function readText(context: ResolveContext, path: Path, name: string): string | null {
  try {
    return readFileNow(locate(context, path, name)).toString('utf8')
  } catch (error) {
    rule(context, [path], true, unreadable(name, error))
    return null
  }
}

export function readSecret(context: ResolveContext, path: Path, name: string): string | null {
  const secret = readText(context, path, name)?.replace(/\r?\n$/, '') ?? null
  rule(context, [path], secret === '', `${name} is empty`)
  return secret
}

/** The file's path, once it was seen that it can be read. */
export function readableFile(context: ResolveContext, path: Path, name: string): string {
  const file = locate(context, path, name)
  try {
    if (file !== '') accessSync(file, constants.R_OK)
  } catch (error) {
    rule(context, [path], true, unreadable(name, error))
  }
  return file
}
