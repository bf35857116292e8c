// Reads userlist.txt as PgBouncer does, which differs from pgmux in small things: the last entry of a name
// counts, a broken line ends the list. Pure. Errors name the line, never what stands on it.

export interface PgbouncerUsers {
  readonly users: ReadonlyMap<string, string>
  /** Where PgBouncer stops reading; 0: it reads all. */
  readonly brokenLine: number
}

/** Quoted name, anything without a quote, quoted secret, rest of the line. */
const ENTRY = /"((?:[^"]|"")*)"(?!")[^"]*"((?:[^"]|"")*)"(?!")[^\n]*/y

/** Never throws. */
export function readPgbouncerUsers(text: string): PgbouncerUsers {
  const users = new Map<string, string>()
  const skipped = /(?:[ \t\n\v\f\r]|;[^\n]*)*/y
  const whole = text.split('\0', 1)[0]!
  for (let at = 0; ; at = ENTRY.lastIndex) {
    skipped.lastIndex = at
    skipped.test(whole)
    const start = skipped.lastIndex
    if (start >= whole.length) return { users, brokenLine: 0 }
    ENTRY.lastIndex = start
    const match = ENTRY.exec(whole)
    if (match === null) return { users, brokenLine: whole.slice(0, start).split('\n').length }
    users.set(match[1]!.replaceAll('""', '"'), match[2]!.replaceAll('""', '"'))
  }
}
