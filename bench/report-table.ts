// How figures and tables are written in text that people read. Pure.
// Must never show a figure that was not measured.
import type { Spread } from './figures.ts'

/** As in `12.3 (11.9-14.0)`: median, least and most. */
export function shown(values: Spread | null, digits: number): string {
  if (values === null) return 'not measured'
  const { median, least, most } = values
  return `${median.toFixed(digits)} (${least.toFixed(digits)}-${most.toFixed(digits)})`
}

/** Markdown with columns of one width each; the first row is the head. */
export function table(rows: readonly string[][]): string {
  const widths = rows[0]!.map((_cell, column) => Math.max(...rows.map((row) => row[column]!.length)))
  const line = (row: readonly string[]): string =>
    `| ${row.map((cell, column) => cell.padEnd(widths[column]!)).join(' | ')} |`
  const rule = `|${widths.map((width) => '-'.repeat(width + 2)).join('|')}|`
  return [line(rows[0]!), rule, ...rows.slice(1).map(line)].join('\n')
}
