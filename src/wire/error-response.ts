// Owns ErrorResponse and NoticeResponse: reading their fields, making them, and changing single fields of one
// that Postgres sent. It never decides what is an error, and never throws on odd bytes.
// Every function takes a whole message: type byte, length, fields.

const HEADER = 5
const SEVERITY_LOCAL = 0x53 // S
const SEVERITY = 0x56 // V
const MESSAGE = 0x4d // M
const QUOTE = 0x22

/** What a message says, in words. Missing fields are ''. */
export interface ErrorFields {
  /** ERROR, FATAL, PANIC, or WARNING, NOTICE, ...: not translated (V, sent by 9.6 and later). */
  readonly severity: string
  /** SQLSTATE, five chars; '' if the message has none. */
  readonly code: string
  readonly message: string
  readonly detail: string
  readonly hint: string
}

/** What to build a message from. */
export interface ErrorSpec {
  readonly severity: 'ERROR' | 'FATAL' | 'PANIC' | 'WARNING' | 'NOTICE' | 'INFO' | 'LOG' | 'DEBUG'
  readonly code: string
  readonly message: string
  readonly detail?: string | undefined
  readonly hint?: string | undefined
  /** Function of Postgres that makes this error: drivers look at it where the SQLSTATE says too little. */
  readonly routine?: string | undefined
}

/**
 * Reads the message in `buf[start..end)`. Never throws: a missing field is '', an unterminated one goes to
 * the end, unknown fields are passed over; of a field sent twice the first counts.
 */
export function parseErrorResponse(buf: Buffer, start: number, end: number): ErrorFields {
  const fields: Record<string, string> = {}
  let at = start + HEADER
  while (at < end && buf[at] !== 0) {
    const valueEnd = terminator(buf, at + 1, end)
    const type = String.fromCharCode(buf[at])
    fields[type] ??= buf.toString('utf8', at + 1, valueEnd)
    at = valueEnd + 1
  }
  return {
    severity: fields.V ?? fields.S ?? '',
    code: fields.C ?? '',
    message: fields.M ?? '',
    detail: fields.D ?? '',
    hint: fields.H ?? '',
  }
}

/** One field of a whole message by its letter (`C` is the SQLSTATE); '' if it is not there. */
export function field(bytes: Buffer, letter: string): string {
  const type = letter.charCodeAt(0)
  const end = bytes.length
  let at = HEADER
  while (at < end && bytes[at] !== 0) {
    const valueEnd = terminator(bytes, at + 1, end)
    if (bytes[at] === type) return bytes.toString('utf8', at + 1, valueEnd)
    at = valueEnd + 1
  }
  return ''
}

/** An ErrorResponse, with S and V as Postgres sends them. Text behind a zero byte is cut off. */
export function errorResponse(spec: ErrorSpec): Buffer {
  return build('E', spec)
}

/** A NoticeResponse. */
export function noticeResponse(spec: ErrorSpec): Buffer {
  return build('N', spec)
}

function build(type: string, spec: ErrorSpec): Buffer {
  let body = `S${spec.severity}\0V${spec.severity}\0C${clean(spec.code)}\0M${clean(spec.message)}\0`
  if (spec.detail) body += `D${clean(spec.detail)}\0`
  if (spec.hint) body += `H${clean(spec.hint)}\0`
  if (spec.routine) body += `R${clean(spec.routine)}\0`
  return seal(type.charCodeAt(0), [Buffer.from(`${body}\0`, 'utf8')])
}

function clean(text: string): string {
  const zero = text.indexOf('\0')
  return zero < 0 ? text : text.slice(0, zero)
}

/** The same message with another severity (S and V); all other bytes stay. */
export function withSeverity(bytes: Buffer, severity: 'ERROR' | 'FATAL'): Buffer {
  const value = Buffer.from(severity, 'latin1')
  return rewrite(bytes, (type, old) => (type === SEVERITY || type === SEVERITY_LOCAL ? value : old))
}

/**
 * The same message with the quoted identifier `from` in its text (M) replaced by `to`, each time it occurs.
 * Quoted means: between `"` or the quotes of a translated message, which are not ASCII (»x«, „x“).
 */
export function replaceName(bytes: Buffer, from: string | Uint8Array, to: string | Uint8Array): Buffer {
  const needle = Buffer.from(from)
  const name = Buffer.from(to)
  if (needle.length === 0) return bytes
  return rewrite(bytes, (type, old) => (type === MESSAGE ? replaceQuoted(old, needle, name) : old))
}

function replaceQuoted(text: Buffer, needle: Buffer, name: Buffer): Buffer {
  const parts: Buffer[] = []
  let copied = 0
  let at = text.indexOf(needle)
  while (at >= 0) {
    const behind = at + needle.length
    if (isQuote(text[at - 1]) && isQuote(text[behind])) {
      parts.push(text.subarray(copied, at), name)
      copied = behind
      at = text.indexOf(needle, behind)
    } else {
      at = text.indexOf(needle, at + 1)
    }
  }
  if (copied === 0) return text
  parts.push(text.subarray(copied))
  return Buffer.concat(parts)
}

function isQuote(byte: number | undefined): boolean {
  return byte !== undefined && (byte === QUOTE || byte >= 0x80)
}

/** Takes the message apart, lets `change` have each value, and puts it together with a right length. */
function rewrite(bytes: Buffer, change: (type: number, value: Buffer) => Buffer): Buffer {
  const parts: Buffer[] = []
  const zero = Buffer.alloc(1)
  let at = HEADER
  while (at < bytes.length && bytes[at] !== 0) {
    const valueEnd = terminator(bytes, at + 1, bytes.length)
    const type = bytes[at]
    parts.push(bytes.subarray(at, at + 1), change(type, bytes.subarray(at + 1, valueEnd)), zero)
    at = valueEnd + 1
  }
  parts.push(zero)
  return seal(bytes[0] ?? 0x45, parts)
}

function seal(type: number, parts: Buffer[]): Buffer {
  const header = Buffer.alloc(HEADER)
  const message = Buffer.concat([header, ...parts])
  message[0] = type
  message.writeInt32BE(message.length - 1, 1)
  return message
}

function terminator(buf: Buffer, from: number, end: number): number {
  let at = from
  while (at < end && buf[at] !== 0) at++
  return Math.min(at, end)
}
