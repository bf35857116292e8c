// Values of pgbouncer.ini: numbers as C reads them, times in seconds, words, and the texts that stand for
// them in config.yaml. Pure. Returns null for what PgBouncer refuses.

/** What a duration of config.yaml can be at most, in ms. */
const MAX_MS = 2 ** 31 - 1
const INT_MAX = 2 ** 31 - 1

/** A whole number as strtol(3) reads it with base 0: decimal, 0x and hexadecimal, 0 and octal. */
export function readInteger(text: string): number | null {
  const match = /^[ \t\v\f\r]*([+-]?)(0[xX][0-9a-fA-F]+|0[0-7]*|[1-9][0-9]*)$/.exec(text)
  if (match === null) return null
  const [, sign, digits = ''] = match
  const isOctal = /^0[0-7]/.test(digits)
  const amount = isOctal ? Number.parseInt(digits, 8) : Number(digits)
  return amount > INT_MAX ? null : sign === '-' ? -amount + 0 : amount
}

/** A number as atoi(3) reads it, which is content with anything: what it does not understand is 0. */
export function readAtoi(text: string): number {
  const number = Number(/^[ \t\v\f\r]*([+-]?\d+)/.exec(text)?.[1] ?? 0)
  return Math.max(-INT_MAX, Math.min(INT_MAX, number)) + 0
}

/** Seconds, with fractions. In ms. */
export function readSeconds(text: string): number | null {
  if (!/^[ \t\v\f\r]*\+?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?$/.test(text)) return null
  const ms = Number(text) * 1000
  return Number.isFinite(ms) ? ms : null
}

/** `1500` as `1500ms`, `60000` as `60s`; what is longer than can be said becomes the longest. */
export function durationOf(ms: number): string {
  if (ms === 0) return '0'
  const whole = Math.max(1, Math.min(MAX_MS, Math.round(ms)))
  return whole % 1000 === 0 ? `${whole / 1000}s` : `${whole}ms`
}

/** The one of `words` that is meant, whatever its case. */
export function readWord(text: string, words: readonly string[]): string | null {
  return words.find((word) => word.toLowerCase() === text.toLowerCase()) ?? null
}

/** A value for a comment: one line, no controls. */
export function shown(text: string): string {
  const plain = text.replaceAll(/[^\x20-\x7e\xa0-\ud7ff\ue000-\ufffd]/g, '?')
  return plain.length > 80 ? `${plain.slice(0, 80)}...` : plain
}
