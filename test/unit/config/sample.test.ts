// config.yaml and docs/configuration.md say exactly what the schema says: every key, no other, the same
// defaults, the same meaning.

import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import { describe, it } from 'node:test'
import { fileURLToPath } from 'node:url'
import { parse } from 'yaml'
import { loadConfig } from '../../../src/config/load.ts'
import { OPTIONS } from '../../../src/config/options.ts'

const path = (name: string): string => fileURLToPath(new URL(`../../../${name}`, import.meta.url))
const sample = readFileSync(path('config.yaml'), 'utf8')
const docs = readFileSync(path('docs/configuration.md'), 'utf8')

/** Dotted paths of all values that are not maps; names of databases and users become `<name>`. */
function leaves(value: unknown, at: readonly string[] = []): [string, unknown][] {
  if (typeof value !== 'object' || value === null) return [[at.join('.'), value]]
  const named = at.length === 1 && (at[0] === 'databases' || at[0] === 'users')
  return Object.entries(value).flatMap(([key, inner]) => leaves(inner, [...at, named ? '<name>' : key]))
}

describe('config.yaml', () => {
  it('is the default configuration', () => {
    const options = { env: {}, terminal: false }
    const loaded = loadConfig({ file: path('config.yaml'), ...options })
    assert.deepEqual(loaded.config, loadConfig(options).config)
    assert.deepEqual(loaded.warnings, [])
  })

  it('has every key with its default, and no other', () => {
    const known = OPTIONS.filter((option) => option.env !== null)
    const expected = known.map((option) => [option.path.join('.'), String(option.fallback)])
    const found = leaves(parse(sample)).map(([key, value]) => [key, String(value)])
    assert.deepEqual(found, expected)
  })

  it('explains every key on the line above it', () => {
    for (const option of OPTIONS) {
      if (option.env === null) continue
      const key = option.path.at(-1)!
      const explained = sample.includes(
        `# ${option.description}\n${' '.repeat(option.path.length * 2 - 2)}${key}: `,
      )
      assert.ok(
        explained,
        `${option.path.join('.')}: "# ${option.description}" is not above it in config.yaml`,
      )
    }
  })

  it('shows every key of databases and users in its examples', () => {
    const examples = [...sample.matchAll(/^# (?:databases|users):\n(?:# .*\n)+/gm)]
    const shown = examples.flatMap(([text]) =>
      leaves(parse(text.replaceAll(/^# /gm, ''))).map(([key]) => key),
    )
    const expected = OPTIONS.filter((option) => option.env === null).map((option) => option.path.join('.'))
    assert.deepEqual([...new Set(shown)].sort(), expected.sort())
  })
})

describe('docs/configuration.md', () => {
  const row = (option: (typeof OPTIONS)[number]): string => {
    const key = `| \`${option.path.join('.')}\` |`
    if (option.env === null) return `${key} ${option.description} |`
    const fallback =
      option.fallback === '' ? "''" : option.path.at(-1) === 'unix_socket_mode' ? "'0777'" : option.fallback
    return `${key} \`${fallback}\` | \`${option.env}\` | ${option.description} |`
  }

  it('has a row for every key, and for no other', () => {
    const found = docs
      .split('\n')
      .filter((line) => /^\| `(workers|worker_timeout|[a-z]+\.[a-z_.<>]+)` \|/.test(line))
    assert.deepEqual(found, OPTIONS.map(row))
  })
})

it('no two keys have the same environment variable', () => {
  const names = OPTIONS.flatMap((option) => option.env ?? [])
  assert.equal(new Set(names).size, names.length)
})
