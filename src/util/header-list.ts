// Reads HTTP headers that are given as one text, in the form that OpenTelemetry has for them
// (OTEL_EXPORTER_OTLP_HEADERS). Pure; it never shows what it was given.

/** What HTTP takes as the name of a header. */
const NAME = /^[!#$%&'*+.^_`|~0-9A-Za-z-]+$/

/**
 * `name=value,name=value`; what is not plain in a value stands there with percent signs.
 * @returns null: it is not so
 */
export function parseHeaders(text: string): Map<string, string> | null {
  const found = new Map<string, string>()
  for (const entry of text.split(',')) {
    if (entry.trim() === '') continue
    const split = entry.indexOf('=')
    const name = entry.slice(0, Math.max(0, split)).trim()
    const value = decoded(entry.slice(split + 1).trim())
    if (!NAME.test(name) || value === null) return null
    found.set(name.toLowerCase(), value)
  }
  return found
}

function decoded(value: string): string | null {
  try {
    const text = decodeURIComponent(value)
    return /^[\t\x20-\x7e]*$/.test(text) ? text : null
  } catch {
    return null
  }
}
