// Reads PgBouncer's userlist.txt. Pure. Errors name the line, never what stands on it.

export interface UserListResult {
  /** User -> plain password, `md5...` hash or SCRAM-SHA-256 verifier. The first entry of a name counts. */
  users: Map<string, string>
  problems: { line: number; text: string }[]
}

const QUOTED = '"((?:[^"]|"")*)"'
const ENTRY = new RegExp(`^\\s*${QUOTED}\\s+${QUOTED}(?:\\s.*)?$`)
const COMMENT_OR_EMPTY = /^\s*(?:[;#].*)?$/

/**
 * Reads lines of the form `"user" "secret"`; `""` inside quotes is one quote, what follows the secret is
 * ignored, and so are empty lines and those that start with `;` or `#`. Never throws.
 */
export function parseUserList(text: string): UserListResult {
  const users = new Map<string, string>()
  const problems: { line: number; text: string }[] = []
  for (const [i, line] of text
    .replace(/^\uFEFF/, '')
    .split(/\r?\n/)
    .entries()) {
    if (COMMENT_OR_EMPTY.test(line)) continue
    const match = ENTRY.exec(line)
    const name = match?.[1]?.replaceAll('""', '"')
    if (name === undefined) {
      problems.push({ line: i + 1, text: 'expects "user" "secret", both in double quotes' })
    } else if (name === '') {
      problems.push({ line: i + 1, text: 'the user name is empty' })
    } else if (users.has(name)) {
      problems.push({ line: i + 1, text: 'this user stands in the list twice, remove one' })
    } else {
      users.set(name, match![2]!.replaceAll('""', '"'))
    }
  }
  return { users, problems }
}
