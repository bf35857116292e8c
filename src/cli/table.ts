// Rows as lines of text in columns, for terminals. Pure.
import type { Row } from './console-client.ts'

/** A column: the name in the row, and what stands above it. */
export type Heading = readonly [name: string, shown: string]

/** No column is wider. */
const WIDTH_MAX = 60
const GAP = '  '

/** Without characters that a terminal would obey. */
export function plain(text: string): string {
  // biome-ignore lint/suspicious/noControlCharactersInRegex: these are what must not be there
  return text.replace(/[\u0000-\u001f\u007f-\u009f\u2028\u2029\u202a-\u202e]+/g, ' ')
}

/** The rows as lines, the headings first; numbers to the right. */
export function table(rows: readonly Row[], headings: readonly Heading[]): string[] {
  const cells = rows.map((row) => headings.map(([name]) => cell(row[name] ?? null)))
  const isNumber = headings.map(([name]) => rows.some((row) => typeof row[name] === 'number'))
  const widths = headings.map(([, shown], at) =>
    Math.max(shown.length, ...cells.map((line) => line[at].length)),
  )
  const lineOf = (line: readonly string[]): string =>
    line
      .map((text, at) => (isNumber[at] ? text.padStart(widths[at]) : text.padEnd(widths[at])))
      .join(GAP)
      .trimEnd()
  return [lineOf(headings.map(([, shown]) => shown)), ...cells.map(lineOf)]
}

function cell(value: Row[string]): string {
  if (value === null) return ''
  const text = typeof value === 'number' ? String(Math.round(value * 10) / 10) : plain(value)
  return text.length > WIDTH_MAX ? `${text.slice(0, WIDTH_MAX - 3)}...` : text
}
