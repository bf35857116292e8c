// Puts the layers of a configuration on top of each other: file, environment, flags. Remembers for each
// value where it came from. Knows the names of the keys, not the rules between them.

import type { Environment, ParsedDocument, Tree } from './document.ts'
import { unknownName } from './problems.ts'
import { isMapAt, keysAt, OPTIONS, type OptionInfo, optionAt } from './options.ts'
import { parseAddress } from './units.ts'

/** What `pgmux run` was given on its command line; texts as they were typed. */
export interface Flags {
  config?: string | undefined
  upstream?: string | undefined
  /** HOST:PORT */
  listen?: string | undefined
  mode?: string | undefined
  poolSize?: string | undefined
  workers?: string | undefined
  /** HOST:PORT or `off` */
  serverless?: string | undefined
  admin?: string | undefined
  logLevel?: string | undefined
  logFormat?: string | undefined
  ephemeral?: boolean | undefined
}

/** A higher rank wins. DATABASE_URL stands below the PGMUX_ variables: it is often there for others. */
export const RANK = { none: 0, file: 1, databaseUrl: 2, environment: 3, flag: 4, set: 5 } as const

export interface Origin {
  rank: number
  /** `config.yaml:12`, `PGMUX_POOL_SIZE`, `--pool-size`. */
  label: string
  /** The value was not written down where the label points: it must not be shown. */
  hidden?: boolean
}

export class Layers {
  readonly tree: Tree
  readonly problems: string[] = []
  readonly warnings: string[] = []
  /** Dotted paths whose own value is wrong: rules about them are not tried. */
  readonly broken = new Set<string>()
  readonly #file: string
  readonly #lines: ReadonlyMap<string, number>
  readonly #origins = new Map<string, Origin>()

  constructor(file: string, document: ParsedDocument) {
    this.#file = file
    this.#lines = document.lines
    this.tree = fillEmptyMaps(document.tree, [])
    for (const [path, line] of document.lines) {
      this.#origins.set(path, { rank: RANK.file, label: `${file}:${line}` })
    }
    for (const { line, text, path } of document.problems) {
      this.problems.push(`${file}:${line}: ${text}`)
      if (path.length > 0) this.broken.add(path.join('.'))
    }
    for (const path of document.expanded) {
      this.#origins.set(path.join('.'), { ...this.origin(path), hidden: true })
      this.#coerce(path)
    }
  }

  /** Where the value at `path` came from. */
  origin(path: readonly string[]): Origin {
    return this.#origins.get(path.join('.')) ?? { rank: RANK.none, label: 'default' }
  }

  rank(path: readonly string[]): number {
    return this.origin(path).rank
  }

  /** The place to look at when something is wrong with `path`. */
  place(path: readonly string[]): string {
    const { label, rank } = this.origin(path)
    if (rank > RANK.file) return label
    for (let length = path.length; length > 0; length--) {
      const line = this.#lines.get(path.slice(0, length).join('.'))
      if (line !== undefined) return `${this.#file}:${line}: ${path.join('.')}`
    }
    return path.join('.')
  }

  /** All origins by dotted path, without their sections. */
  sources(): Map<string, string> {
    const leaves = [...this.#origins].filter(([path]) => optionAt(path.split('.')) !== undefined)
    return new Map(leaves.map(([path, origin]) => [path, origin.label]))
  }

  get(path: readonly string[]): unknown {
    let value: unknown = this.tree
    for (const key of path) value = isTree(value) ? value[key] : undefined
    return value
  }

  set(path: readonly string[], text: unknown, origin: Origin): void {
    if (this.rank(path) > origin.rank) return
    let map = this.tree
    for (const key of path.slice(0, -1)) {
      if (map[key] === undefined) map[key] = Object.create(null)
      // A section that is not a map is a problem of the file, to be seen, not to be covered.
      if (!isTree(map[key])) return
      map = map[key]
    }
    map[path.at(-1)!] = text
    this.broken.delete(path.join('.'))
    this.#origins.set(path.join('.'), origin)
    this.#coerce(path)
  }

  delete(path: readonly string[]): void {
    const map = this.get(path.slice(0, -1))
    if (isTree(map)) delete map[path.at(-1)!]
    this.#origins.delete(path.join('.'))
  }

  /** Text from the environment or a flag may stand for a number or a boolean; the option says which. */
  #coerce(path: readonly string[]): void {
    const value = this.get(path)
    const map = this.get(path.slice(0, -1))
    const kind = optionAt(path)?.kind
    if (typeof value !== 'string' || !isTree(map)) return
    if (kind === 'integer' && /^-?\d{1,15}$/.test(value)) map[path.at(-1)!] = Number(value)
    if (kind === 'boolean' && /^(true|false|1|0)$/.test(value)) {
      map[path.at(-1)!] = value === 'true' || value === '1'
    }
  }
}

function isTree(value: unknown): value is Tree {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}

/** `pool:` with nothing below it (everything commented out) is an empty section, not a mistake. */
function fillEmptyMaps(tree: Tree, path: readonly string[]): Tree {
  for (const [key, value] of Object.entries(tree)) {
    const inner = [...path, key]
    if (value === null && isMapAt(inner)) tree[key] = Object.create(null)
    else if (isTree(value)) fillEmptyMaps(value, inner)
  }
  return tree
}

function environmentNames(): Map<string, OptionInfo> {
  const named = OPTIONS.filter((option) => option.env !== null)
  return new Map(named.map((option) => [option.env!, option]))
}

/** Sets what the environment says; an empty variable counts as unset. */
export function applyEnvironment(layers: Layers, env: Environment): void {
  const known = environmentNames()
  if (env.DATABASE_URL !== undefined && env.DATABASE_URL !== '') {
    layers.set(['upstream', 'url'], env.DATABASE_URL, { rank: RANK.databaseUrl, label: 'DATABASE_URL' })
  }
  for (const [name, value] of Object.entries(env)) {
    if (!name.startsWith('PGMUX_') || name.startsWith('PGMUX_TEST_') || name === 'PGMUX_CONFIG') continue
    const option = known.get(name)
    if (option === undefined) {
      const text = unknownName(name, [...known.keys(), 'PGMUX_CONFIG'], 'environment variable')
      layers.warnings.push(`${name}: ${text}`)
    } else if (value !== undefined && value !== '') {
      layers.set(option.path, value, { rank: RANK.environment, label: name })
    }
  }
}

function applyAddress(layers: Layers, section: string, flag: string, text: string): void {
  const origin = { rank: RANK.flag, label: flag }
  try {
    const { host, port } = parseAddress(text)
    layers.set([section, 'host'], host, origin)
    layers.set([section, 'port'], port, origin)
  } catch (error) {
    layers.problems.push(`${flag}: ${(error as Error).message}`)
  }
}

/** Sets what the command line says. */
export function applyFlags(layers: Layers, flags: Flags): void {
  const simple: [string, readonly string[], unknown][] = [
    ['--upstream', ['upstream', 'url'], flags.upstream],
    ['--mode', ['pool', 'mode'], flags.mode],
    ['--pool-size', ['pool', 'size'], flags.poolSize],
    ['--workers', ['workers'], flags.workers],
    ['--log-level', ['log', 'level'], flags.logLevel],
    ['--log-format', ['log', 'format'], flags.logFormat],
    ['--ephemeral', ['embedded', 'ephemeral'], flags.ephemeral],
  ]
  for (const [label, path, value] of simple) {
    if (value !== undefined) layers.set(path, value, { rank: RANK.flag, label })
  }
  if (flags.listen !== undefined) applyAddress(layers, 'listen', '--listen', flags.listen)
  for (const section of ['serverless', 'admin'] as const) {
    const [flag, text] = [`--${section}`, flags[section]]
    if (text === 'off') layers.set([section, 'host'], 'off', { rank: RANK.flag, label: flag })
    else if (text !== undefined) applyAddress(layers, section, flag, text)
  }
}

/** The words for a key that does not exist at `path`. */
export function unknownKey(path: readonly string[], key: string): string {
  return unknownName(key, keysAt(path) ?? [], 'key')
}

/** Sets what an operator has set while the process runs. */
export function applySet(layers: Layers, set: ReadonlyMap<string, string>): void {
  for (const [option, text] of set)
    layers.set(option.split('.'), text, { rank: RANK.set, label: `SET ${option}` })
}
