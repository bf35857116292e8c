// Texts of the configuration that stand for numbers and addresses: durations, sizes, octal modes,
// HOST:PORT. Pure: reads nothing but its argument. Errors say what is accepted and never what was
// given (the caller knows whether the value may be shown).

const DURATION_UNITS: Readonly<Record<string, number>> = {
  ms: 1,
  s: 1000,
  m: 60_000,
  h: 3_600_000,
  d: 86_400_000,
}

/** What a Node timer can hold; longer ones would fire at once. */
const MAX_DURATION_MS = 2 ** 31 - 1

const SIZE_UNITS: Readonly<Record<string, number>> = {
  B: 1,
  KiB: 1024,
  MiB: 1024 ** 2,
  GiB: 1024 ** 3,
}

/**
 * Reads a duration such as `250ms`, `30s`, `5m`, `1h`, `2d` or `0` (off).
 * @returns milliseconds, a whole number.
 * @throws Error in words when it is anything else; a bare number other than 0 has no unit and is refused.
 */
export function parseDuration(value: string | number): number {
  const text = String(value).trim()
  if (/^0+$/.test(text)) return 0
  if (/^\d+(\.\d+)?$/.test(text)) {
    throw new Error('expects a duration with a unit, like "250ms", "30s", "5m" or "1h"; add one')
  }
  const match = /^(\d+(?:\.\d+)?) ?(ms|s|m|h|d)$/.exec(text)
  if (match === null) throw new Error('expects a duration like "250ms", "30s", "5m", "1h", or "0" for off')
  const amount = Number(match[1])
  const ms = Math.round(amount * DURATION_UNITS[match[2]!]!)
  if (ms > MAX_DURATION_MS) throw new Error('expects a duration of at most 24d')
  if (ms === 0 && amount > 0) throw new Error('expects a duration of at least 1ms, or "0" for off')
  return ms
}

/**
 * Reads a size such as `64MiB`, `16KiB`, or a plain number of bytes.
 * @returns bytes, a whole number.
 * @throws Error in words when it is anything else.
 */
export function parseSize(value: string | number): number {
  const match = /^(\d+(?:\.\d+)?) ?(B|KiB|MiB|GiB)?$/.exec(String(value).trim())
  const bytes = match === null ? Number.NaN : Number(match[1]) * SIZE_UNITS[match[2] ?? 'B']!
  if (!Number.isSafeInteger(bytes)) {
    throw new Error('expects a size like "16KiB", "64MiB", "1GiB", or a whole number of bytes')
  }
  return bytes
}

/**
 * Reads a share such as `0.01` or `1`.
 * @throws Error in words when it is anything else.
 */
export function parseShare(value: string | number): number {
  const text = String(value).trim()
  const share = /^\d+(\.\d+)?$/.test(text) ? Number(text) : Number.NaN
  if (!(share >= 0 && share <= 1)) throw new Error('expects a number from 0 to 1, like 0.01')
  return share
}

/**
 * Reads a file mode written in octal digits, such as `0777`.
 * @returns the mode bits.
 * @throws Error in words when it is anything else.
 */
export function parseFileMode(text: string): number {
  if (!/^0?[0-7]{3}$/.test(text)) throw new Error("expects three octal digits in quotes, like '0777'")
  return Number.parseInt(text, 8)
}

/**
 * Reads `HOST:PORT`, `[IPV6]:PORT`.
 * @throws Error in words when it is anything else.
 */
export function parseAddress(text: string): { host: string; port: number } {
  const match = /^(?:\[([0-9a-fA-F:.%\w]+)\]|([^:[\]\s/]+)):(\d{1,5})$/.exec(text.trim())
  const port = match === null ? -1 : Number(match[3])
  if (match === null || port > 65_535) {
    throw new Error('expects HOST:PORT, like "127.0.0.1:6432" or "[::1]:6432"')
  }
  return { host: match[1] ?? match[2]!, port }
}

/** Longest time that a timer can take, about 24 days. */
const FOREVER_MS = 0x7fff_ffff

/** A time limit for a timer, where 0 stands for none. In milliseconds. */
export function orForever(ms: number): number {
  return ms === 0 ? FOREVER_MS : ms
}

/** True for a host on which only programs of this machine can connect. */
export function isLoopbackHost(host: string): boolean {
  return /^127(\.\d{1,3}){3}$/.test(host) || host === '::1' || host.toLowerCase() === 'localhost'
}

/** The parts of `alice, bob`. */
export function namesIn(text: string): string[] {
  return text.split(',').flatMap((name) => (name.trim() === '' ? [] : [name.trim()]))
}
