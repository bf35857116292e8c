// Writes a config.yaml with a comment above each key. Knows the order of sections, and how a text stands in
// YAML.
import { stringify } from 'yaml'
import { OPTIONS } from '../options.ts'
import type { Converted, Line } from './convert.ts'
import type { Value } from './setting.ts'
import { shown } from './values.ts'

/** Width of comments. */
const COLUMNS = 100
const SECTIONS = [...new Set(OPTIONS.map(({ path }) => path[0]!))]
const HEAD = (
  from: string,
): string => `# Made from ${from} by pgmux import: it behaves the same, as far as nothing else is said.
# pgmux check --config FILE says whether it can start with it. docs/from-pgbouncer.md tells what differs.
`

/** @param from the name of the file that it was made of */
export function writeYaml({ lines, left }: Converted, from: string): string {
  const root: Tree = new Map()
  for (const line of lines) place(root, line)
  const sections = SECTIONS.flatMap((name) => {
    const inner = root.get(name)
    return inner === undefined ? [] : [`\n${keyOf(name)}:\n${inYaml(inner as Tree, 1)}`]
  })
  const rest = left.map((text) => comment(`- ${text}`, ''))
  const why = rest.length === 0 ? '' : `\n# Without a key here:\n${rest.join('')}`
  return `${HEAD(shown(from))}${sections.join('')}${why}`
}

/** The last line with a path counts, and stands where the first did. */
type Tree = Map<string, Tree | Line>

function place(root: Tree, line: Line): void {
  let tree = root
  for (const key of line.path.slice(0, -1)) {
    const inner = tree.get(key) ?? new Map<string, Tree | Line>()
    tree.set(key, inner)
    tree = inner as Tree
  }
  tree.set(line.path.at(-1)!, line)
}

function inYaml(tree: Tree, depth: number): string {
  const indent = '  '.repeat(depth)
  return [...tree]
    .map(([key, inner]) => {
      if (inner instanceof Map) return `${indent}${keyOf(key)}:\n${inYaml(inner, depth + 1)}`
      return `${comment(inner.remark, indent)}${indent}${keyOf(key)}: ${scalar(inner.value)}\n`
    })
    .join('')
}

/** A comment of as many lines as it takes. */
function comment(text: string, indent: string): string {
  const lines: string[] = []
  let line = ''
  for (const word of text.split(/\s+/)) {
    if (line !== '' && indent.length + line.length + word.length > COLUMNS) {
      lines.push(line)
      line = ''
    }
    line = line === '' ? word : `${line} ${word}`
  }
  return [...lines, line].map((each) => `${indent}# ${each}\n`).join('')
}

/** The name of a database may be anything, and must stay a text. */
function keyOf(key: string): string {
  return /^[a-z_][a-z_0-9]*$/.test(key) && !/^(y|n|yes|no|on|off|true|false|null)$/.test(key)
    ? key
    : quoted(key)
}

/** In single quotes where there are no controls, else as JSON, which YAML is made of. */
function quoted(text: string): string {
  return stringify(text, { defaultStringType: 'QUOTE_SINGLE', lineWidth: 0 }).trimEnd()
}

function scalar(value: Value): string {
  if (typeof value !== 'string') return String(value)
  // What looks like a variable is none.
  const text = value.replaceAll('${', () => '$${')
  return /^[a-z0-9][a-z0-9_-]*$/.test(text) &&
    !/^[0-9_]+$|^0[xob]|e[0-9]+$|^(y|n|yes|no|on|off|true|false|null)$/.test(text)
    ? text
    : quoted(text)
}
