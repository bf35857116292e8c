// The project's own source files as syntax trees, for the tests of the house rules. It only reads.

import { existsSync, readdirSync, readFileSync } from 'node:fs'
import { dirname, join, normalize } from 'node:path'
import { fileURLToPath } from 'node:url'
import { parse } from '@babel/parser'

/** The folder of the project, with a slash at its end. */
export const ROOT = fileURLToPath(new URL('../..', import.meta.url))

export interface SyntaxNode {
  type: string
  loc: { start: { line: number }; end: { line: number } }
  [key: string]: unknown
}

interface Import {
  from: string
  /** `import type`: nothing of it is there when the program runs. */
  typeOnly: boolean
  line: number
}

export interface SourceFile {
  /** Relative to the project, with forward slashes. */
  path: string
  lines: string[]
  nodes: { node: SyntaxNode; parent: SyntaxNode | null; key: string }[]
  imports: Import[]
  /** Names of the file's own variables, parameters and imports. */
  declared: ReadonlySet<string>
}

function isNode(value: unknown): value is SyntaxNode {
  return typeof value === 'object' && value !== null && typeof (value as SyntaxNode).type === 'string'
}

/** Files below a folder whose name fits, relative to the project; none if there is no such folder. */
export function listFiles(folder: string, wanted: RegExp): string[] {
  const full = join(ROOT, folder)
  if (!existsSync(full)) return []
  return readdirSync(full, { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile() && wanted.test(entry.name))
    .map((entry) => join(entry.parentPath, entry.name).slice(ROOT.length).replaceAll('\\', '/'))
    .filter((path) => !/(^|\/)(node_modules|dist|results|\.pgmux)\//.test(path))
    .sort()
}

function collectNodes(root: SyntaxNode): SourceFile['nodes'] {
  const nodes: SourceFile['nodes'] = []
  const visit = (node: SyntaxNode, parent: SyntaxNode | null, key: string): void => {
    nodes.push({ node, parent, key })
    for (const [name, value] of Object.entries(node)) {
      if (name === 'loc' || name.endsWith('Comments')) continue
      for (const child of Array.isArray(value) ? value : [value]) {
        if (isNode(child)) visit(child, node, name)
      }
    }
  }
  visit(root, null, '')
  return nodes
}

/** import, export from, import(), and `new URL('./x.ts', import.meta.url)` (workers, child programs). */
function importOf(node: SyntaxNode): string | null {
  const named = /^(Import|ExportNamed|ExportAll)Declaration$/.test(node.type)
  const callee = node.callee as SyntaxNode | undefined
  const loaded = callee?.type === 'Import' || (node.type === 'NewExpression' && callee?.name === 'URL')
  const source = named ? node.source : loaded ? (node.arguments as unknown[])[0] : null
  const text = isNode(source) && source.type === 'StringLiteral' ? String(source.value) : null
  return named || callee?.type === 'Import' || text?.endsWith('.ts') ? text : null
}

function isTypeOnly(node: SyntaxNode): boolean {
  return node.importKind === 'type' || node.exportKind === 'type'
}

const DECLARING = /^(VariableDeclarator|ArrayPattern|ImportSpecifier|.*Function.*|.*Method)$/

function declaredIn(nodes: SourceFile['nodes']): Set<string> {
  const patterns = nodes
    .filter(({ node }) => node.type === 'ObjectPattern')
    .map(({ node }) => node.properties)
  const inPattern = new Set(patterns.flat())
  const names = new Set<string>()
  for (const { node, parent, key } of nodes) {
    const own = /^(id|elements|params|local)$/.test(key) && DECLARING.test(parent?.type ?? '')
    const picked = key === 'value' && inPattern.has(parent)
    if (node.type === 'Identifier' && (own || picked)) names.add(String(node.name))
  }
  return names
}

/** Reads and parses one file. */
export function readSource(path: string): SourceFile {
  const text = readFileSync(join(ROOT, path), 'utf8')
  const tree = parse(text, { sourceType: 'module', plugins: ['typescript'], errorRecovery: true })
  const nodes = collectNodes(tree.program as unknown as SyntaxNode)
  const imports: Import[] = []
  for (const { node } of nodes) {
    const from = importOf(node)
    if (from !== null) imports.push({ from, typeOnly: isTypeOnly(node), line: node.loc.start.line })
  }
  return { path, lines: text.split('\n'), nodes, imports, declared: declaredIn(nodes) }
}

/** `pool` for src/pool/pool.ts, `main.ts` for src/main.ts. */
export function folderOf(path: string): string {
  return path.split('/')[1] ?? ''
}

/** The file that a relative import means; null for a package. */
export function targetOf(file: SourceFile, from: string): string | null {
  return from.startsWith('.') ? normalize(join(dirname(file.path), from)).replaceAll('\\', '/') : null
}

/** True where an identifier names a value, not a property, key or type member. */
export function isReference({ node, parent, key }: SourceFile['nodes'][number]): boolean {
  if (node.type !== 'Identifier') return false
  if (key === 'property' && parent?.computed !== true) return false
  const isKey = key === 'key' && parent?.computed !== true && parent?.shorthand !== true
  return !isKey && !(parent?.type.startsWith('TS') && /^(key|label|parameterName|id)$/.test(key))
}
