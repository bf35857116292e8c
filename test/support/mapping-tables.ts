// Owns the tables of docs/from-pgbouncer.md as they follow from src/config/import/settings.ts.
import type { Setting } from '../../src/config/import/setting.ts'
import { GROUPS } from '../../src/config/import/settings.ts'
import { DATABASE_KEYS, USER_KEYS } from '../../src/config/import/settings-named.ts'

/** Heading -> table. */
export function mappingTables(): Record<string, string> {
  const tables: Record<string, string> = {}
  for (const [heading, settings] of Object.entries(GROUPS)) tables[heading] = table(settings, '')
  tables['A line of \\[databases\\]'] = table(DATABASE_KEYS, 'databases.<name>.')
  tables['A line of \\[users\\]'] = table(USER_KEYS, 'users.<name>.')
  return tables
}

function table(settings: readonly Setting[], path: string): string {
  const rows = settings.map(({ name, fallback, to = [], note = '' }) => {
    const keys = to.length === 0 ? 'not there' : to.map((key) => `\`${path}${key}\``).join(', ')
    const there = path === '' ? ` ${fallback === '' ? '' : `\`${fallback}\``} |` : ''
    return `| \`${name}\` |${there} ${keys} | ${note} |\n`
  })
  const head =
    path === ''
      ? '| PgBouncer | its default | pgmux | note |\n|---|---|---|---|\n'
      : '| PgBouncer | pgmux | note |\n|---|---|---|\n'
  return head + rows.join('')
}
