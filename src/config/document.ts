// Turns the text of a YAML file into a plain tree, remembers the line of every key, and expands
// ${VAR} in string values. Knows nothing about what the keys mean. Errors never quote a value: it may
// be a password in the wrong place.

import {
  type Document,
  isAlias,
  isMap,
  isScalar,
  isSeq,
  LineCounter,
  type Node,
  parseDocument,
  type Scalar,
  type YAMLMap,
} from 'yaml'

export interface Tree {
  [key: string]: unknown
}

export interface ParsedDocument {
  /** Prototype-free maps, arrays and scalars. Empty for an empty file. */
  tree: Tree
  /** Dotted path of a key -> its line, from 1. */
  lines: Map<string, number>
  /** Paths of values in which a ${VAR} was replaced: text that may stand for a number, or be a secret. */
  expanded: (readonly string[])[]
  /** What is wrong. `path` is the key whose value is wrong and therefore undefined, or empty. */
  problems: { line: number; text: string; path: readonly string[] }[]
}

export type Environment = Readonly<Record<string, string | undefined>>

/** Aliases may be nested, and each is copied out: without a limit, a small file fills the memory. */
const MAX_ALIASES = 100

/** The parser's own words, without the pieces of the file that some of them repeat. */
function safeMessage(code: string, message: string): string {
  if (code === 'DUPLICATE_KEY') return 'this key stands here twice, remove one'
  if (code === 'BAD_DQ_ESCAPE')
    return 'bad YAML: unknown \\ sequence in "double quotes"; use \'single quotes\''
  if (code === 'TAB_AS_INDENT') return 'bad YAML: a tab cannot be used as indentation, use spaces'
  return `bad YAML: ${message.replace(/: (?!in |between ).*$/s, '')}`
}

class TreeBuilder {
  readonly result: ParsedDocument = { tree: {}, lines: new Map(), expanded: [], problems: [] }
  readonly #document: Document
  readonly #lineCounter: LineCounter
  readonly #env: Environment
  #aliases = 0

  constructor(document: Document, lineCounter: LineCounter, env: Environment) {
    this.#document = document
    this.#lineCounter = lineCounter
    this.#env = env
  }

  line(offset: number): number {
    return Math.max(1, this.#lineCounter.linePos(offset).line)
  }

  problem(node: Node, text: string, path: readonly string[] = []): void {
    this.result.problems.push({ line: this.line(node.range?.[0] ?? 0), text, path })
  }

  build(node: Node | null, path: readonly string[]): unknown {
    if (isAlias(node)) return this.#buildAlias(node.resolve(this.#document) ?? null, node, path)
    if (isMap(node)) return this.#buildMap(node as YAMLMap<Node, Node | null>, path)
    if (isSeq(node)) return node.items.map((item, i) => this.build(item as Node, [...path, String(i)]))
    if (isScalar(node)) return this.#buildScalar(node, path)
    return null
  }

  #buildAlias(target: Node | null, alias: Node, path: readonly string[]): unknown {
    this.#aliases++
    if (target !== null && this.#aliases <= MAX_ALIASES) return this.build(target, path)
    this.problem(alias, target === null ? 'this alias has no anchor' : `more than ${MAX_ALIASES} aliases`)
    return null
  }

  #buildMap(node: YAMLMap<Node, Node | null>, path: readonly string[]): Tree {
    const tree = Object.create(null) as Tree
    for (const { key, value } of node.items) {
      if (!isScalar(key) || key.value === '__proto__') {
        this.problem(key, 'a key must be a plain name')
        continue
      }
      const inner = [...path, String(key.value)]
      this.result.lines.set(inner.join('.'), this.line(key.range?.[0] ?? 0))
      tree[String(key.value)] = this.build(value, inner)
    }
    return tree
  }

  #buildScalar(node: Scalar, path: readonly string[]): unknown {
    if (typeof node.value !== 'string' || !node.value.includes('${')) return node.value
    this.result.expanded.push(path)
    const { text, problems } = expandVariables(node.value, this.#env)
    for (const problem of problems) this.problem(node, `${path.join('.')}: ${problem}`, path)
    return problems.length === 0 ? text : undefined
  }
}

/**
 * Replaces `${VAR}` and `${VAR:-default}` (used where VAR is unset or empty); `$${` stands for `${` itself.
 * @returns the text, and one sentence for each variable that is not set or not a name.
 */
export function expandVariables(text: string, env: Environment): { text: string; problems: string[] } {
  const problems: string[] = []
  const result = text.replace(/\$?\$\{([^}]*)\}?/g, (all, inner: string) => {
    if (all.startsWith('$$')) return all.slice(1)
    const match = /^([A-Za-z_][A-Za-z0-9_]*)(?::-(.*))?$/s.exec(inner)
    if (match === null || !all.endsWith('}')) {
      problems.push('expects ${NAME} or ${NAME:-default}; write $${ for ${ itself')
      return ''
    }
    const [, name, fallback] = match
    const value = env[name!]
    if (fallback !== undefined) return value === undefined || value === '' ? fallback : value
    if (value === undefined) {
      problems.push(`the environment variable ${name} is not set; set it or write \${${name}:-default}`)
    }
    return value ?? ''
  })
  return { text: result, problems }
}

/** Reads YAML text. Never throws: what is wrong is in `problems`. */
export function readDocument(text: string, env: Environment): ParsedDocument {
  const lineCounter = new LineCounter()
  const document = parseDocument(text, { lineCounter, prettyErrors: false, stringKeys: false })
  const builder = new TreeBuilder(document, lineCounter, env)
  const { result } = builder
  // What follows the first syntax error is mostly its echo; a key that stands twice stops nothing.
  const found = [...document.errors, ...document.warnings]
  const syntax = found.find((error) => error.code !== 'DUPLICATE_KEY')
  for (const error of found.filter((each) => each === syntax || each.code === 'DUPLICATE_KEY')) {
    result.problems.push({
      line: builder.line(error.pos[0]),
      text: safeMessage(error.code, error.message),
      path: [],
    })
  }
  if (result.problems.length > 0) return result
  const tree = builder.build(document.contents as Node | null, [])
  if (tree === null) return result
  if (typeof tree === 'object' && !Array.isArray(tree)) result.tree = tree as Tree
  else result.problems.push({ line: 1, text: 'expects sections such as "listen:" and "pool:"', path: [] })
  return result
}
