// What a log line may hold: fields without secrets, text without anything that a terminal or a log shipper
// could take for a command or for another line. Pure; never passes on a value that it did not look at.

const REDACTED = '[redacted]'
const TEXT_MAX = 2048
const DEPTH_MAX = 4
const ITEMS_MAX = 50

/** Names of fields whose values are never written, in any depth and any spelling. */
const SECRET_NAME =
  /passw|pwd|secret|token|credential|authorization|cookie|verifier|(client|server|stored|cancel)_?key/i
/**
 * The password of a connection string. The last `@` before the path ends it: passwords may hold one as well.
 */
const URL_PASSWORD = /(\b[a-z][a-z0-9+.-]{0,20}:\/\/[^\s:@/]*):[^\s/]*@/gi
const QUERY_PASSWORD = /\b(password|sslpassword)(\s*=\s*)('[^']*'|[^\s&]+)/gi
/** Controls, line and paragraph separators, and marks that turn the direction of text. */
// biome-ignore lint/suspicious/noControlCharactersInRegex: these are what has to be found
const UNSAFE = /[\u0000-\u001f\u007f-\u009f\u2028-\u202e\u2066-\u2069]/g

function escaped(character: string): string {
  const code = character.charCodeAt(0)
  if (code === 0x0a) return '\\n'
  if (code === 0x0d) return '\\r'
  if (code === 0x09) return '\\t'
  return code <= 0xff ? `\\x${code.toString(16).padStart(2, '0')}` : `\\u${code.toString(16)}`
}

/** Text for a log line: at most 2048 characters, on one line, without passwords of connection strings. */
export function safeText(text: string): string {
  // Cut last: a connection string whose end was cut off could not be told from other text.
  const whole = text
    .slice(0, 2 * TEXT_MAX)
    .replace(URL_PASSWORD, `$1:${REDACTED}@`)
    .replace(QUERY_PASSWORD, `$1$2${REDACTED}`)
  const short = whole.length > TEXT_MAX ? `${whole.slice(0, TEXT_MAX)}...` : whole
  return short.replace(UNSAFE, escaped)
}

/** Fields for a log line: a copy without secrets, bounded in depth and size. Bytes are never shown. */
export function safeFields(fields: Readonly<Record<string, unknown>>): Record<string, unknown> {
  return safeObject(fields, 0)
}

function safeObject(fields: object, depth: number): Record<string, unknown> {
  const result: Record<string, unknown> = {}
  for (const [name, value] of Object.entries(fields).slice(0, ITEMS_MAX)) {
    result[safeText(name)] = SECRET_NAME.test(name) ? REDACTED : safeValue(value, depth + 1)
  }
  return result
}

function safeValue(value: unknown, depth: number): unknown {
  if (typeof value === 'string') return safeText(value)
  if (typeof value === 'number' || typeof value === 'boolean' || value === null) return value
  if (typeof value === 'bigint') return value.toString()
  if (typeof value !== 'object') return undefined
  if (value instanceof Error) return safeError(value)
  if (ArrayBuffer.isView(value)) return `[${value.byteLength} bytes]`
  if (depth >= DEPTH_MAX) return '[...]'
  if (Array.isArray(value)) return value.slice(0, ITEMS_MAX).map((item) => safeValue(item, depth + 1))
  return safeObject(value, depth)
}

/** Only what is needed to find the place: an error's own fields may hold anything. */
function safeError(error: Error): Record<string, unknown> {
  const code = 'code' in error && typeof error.code === 'string' ? { code: safeText(error.code) } : {}
  return {
    type: safeText(error.name),
    message: safeText(error.message),
    ...code,
    stack: safeText(error.stack ?? ''),
  }
}
