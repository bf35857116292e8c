// Writes what follows from the schema: the keys of config.yaml and the tables of docs/configuration.md, for
// sections that these files have; and from src/config/import/settings.ts the tables of
// docs/from-pgbouncer.md. `npm run options`, after a change of one of them. It never touches the text
// around them, nor the examples of databases and users.
import { readFileSync, writeFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { mappingTables } from './mapping-tables.ts'
import { OPTIONS, type OptionInfo } from '../../src/config/options.ts'

const pathOf = (name: string): string => fileURLToPath(new URL(`../../${name}`, import.meta.url))
const own = OPTIONS.filter((option) => option.env !== null)
const sections = new Set(own.map((option) => option.path[0]!))

/** A value as it stands in YAML. */
function inYaml({ fallback, path }: OptionInfo): string {
  if (path.at(-1) === 'unix_socket_mode') return `'${fallback}'`
  if (typeof fallback !== 'string') return String(fallback)
  return fallback === '' || /^[*&!%@`{[#|>'"]|: | #/.test(fallback) ? `'${fallback}'` : fallback
}

/** The keys of one section, each below its meaning. */
function keysOf(section: string): string {
  const [first] = own.filter(({ path }) => path[0] === section)
  if (first?.path.length === 1) return `# ${first.description}\n${section}: ${inYaml(first)}\n`
  const lines = [`${section}:`]
  let below: readonly string[] = [section]
  for (const option of own.filter(({ path }) => path[0] === section)) {
    const parents = option.path.slice(0, -1)
    for (let depth = 1; depth < parents.length; depth++) {
      if (below[depth] !== parents[depth]) lines.push(`${'  '.repeat(depth)}${parents[depth]}:`)
    }
    below = parents
    const indent = '  '.repeat(parents.length)
    lines.push(`${indent}# ${option.description}`, `${indent}${option.path.at(-1)}: ${inYaml(option)}`)
  }
  return `${lines.join('\n')}\n`
}

function rowOf(option: OptionInfo): string {
  const key = `| \`${option.path.join('.')}\` |`
  if (option.env === null) return `${key} ${option.description} |`
  const value =
    option.fallback === '' || option.path.at(-1) === 'unix_socket_mode' ? inYaml(option) : option.fallback
  return `${key} \`${value}\` | \`${option.env}\` | ${option.description} |`
}

function writeSample(): void {
  let text = readFileSync(pathOf('config.yaml'), 'utf8')
  for (const section of sections) {
    const body = new RegExp(`^${section}:\\n(?:  .*\\n)+|^# .*\\n${section}: .*\\n`, 'm')
    if (!body.test(text)) throw new Error(`config.yaml has no section "${section}:"; write its head by hand`)
    text = text.replace(body, () => keysOf(section))
  }
  writeFileSync(pathOf('config.yaml'), text)
}

function writeTables(): void {
  let text = readFileSync(pathOf('docs/configuration.md'), 'utf8')
  for (const section of new Set(OPTIONS.map((option) => option.path[0]!))) {
    const rows = new RegExp(`(?:^\\| \`${section}(?:\\.[a-z_.<>]+)?\` \\|.*\\n)+`, 'm')
    if (!rows.test(text)) throw new Error(`docs/configuration.md has no table of "${section}"`)
    const written = OPTIONS.filter(({ path }) => path[0] === section).map((option) => `${rowOf(option)}\n`)
    text = text.replace(rows, () => written.join(''))
  }
  writeFileSync(pathOf('docs/configuration.md'), text)
}

/** The tables of docs/from-pgbouncer.md, between the marks that stand there. */
function writeMapping(): void {
  let text = readFileSync(pathOf('docs/from-pgbouncer.md'), 'utf8')
  for (const [heading, table] of Object.entries(mappingTables())) {
    const marked = new RegExp(`(?<=^### ${heading}\\n\\n)(?:\\|.*\\n)+`, 'm')
    if (!marked.test(text)) throw new Error(`docs/from-pgbouncer.md has no table below "### ${heading}"`)
    text = text.replace(marked, () => table)
  }
  writeFileSync(pathOf('docs/from-pgbouncer.md'), text)
}

writeSample()
writeTables()
writeMapping()
