// One instance of the grammar for the tests of a file, and what its verdicts say in one line each.

import { readFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { Grammar } from '../../src/sql/grammar.ts'
import { readTree } from '../../src/sql/read-tree.ts'
import { Act, type PreparedUse, type SettingChange, type Statement } from '../../src/sql/verdict.ts'

const WASM = fileURLToPath(import.meta.resolve('libpg-query/wasm/libpg-query.wasm'))

export function openGrammar(growthMax?: number): Promise<Grammar> {
  return Grammar.open(readFileSync(WASM), growthMax)
}

/** Statements of a text; null: refused. */
export function judge(grammar: Grammar, text: string | Buffer, flags = 1): readonly Statement[] | null {
  const tree = grammar.parse(Buffer.from(text as string), flags)
  return tree === null || tree === 'unread' ? null : readTree(tree)
}

/** Acts (without Writes), settings, prepared statements and channels. */
export function brief(statement: Statement): string {
  const shown = statement.acts & ~Act.Writes
  const acts = Object.entries(Act).filter(([, bit]) => (shown & bit) !== 0)
  const channels = statement.channels.map(({ how, name }) => `${how} ${name ?? '*'}`)
  return [
    ...acts.map(([name]) => name),
    ...statement.settings.map(setting),
    ...statement.prepared.map(use),
    ...channels,
  ].join(' ')
}

function setting(change: SettingChange): string {
  const name = change.name ?? (change.parameter > 0 ? `$${change.parameter}` : '?')
  const value = change.value === 'constant' ? change.values.join(',') : `<${change.value}>`
  const local = change.isLocal === null ? ':maybe' : change.isLocal ? ':local' : ''
  return `${name}=${value}${local}`
}

function use({ how, name, body }: PreparedUse): string {
  return `${how} ${name ?? '*'}${body === null ? '' : `{${brief(body)}}`}`
}
