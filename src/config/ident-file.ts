// What a line of pg_ident.conf means. Pure. Follows Postgres 17, in its words where it would complain too.
import { compileRegex } from '../util/regex.ts'
import type { AuthLine, Token } from './auth-file.ts'
import type { MappedName, UserMapLine } from './types.ts'

type Problem = { readonly error: string }

/** @returns the line, or why it cannot be used */
export function parseIdentLine({ fields }: AuthLine): UserMapLine | Problem {
  const [map, system, user] = [0, 1, 2].map((i) => fields[i]?.[0])
  const present = fields.slice(0, 3)
  if (present.some((tokens) => tokens.length > 1)) return { error: 'multiple values in ident field' }
  if (map === undefined || system === undefined || user === undefined)
    return { error: 'missing entry at end of line' }
  const read = { system: mapped(system), user: mapped(user) }
  if ('error' in read.system) return read.system
  if ('error' in read.user) return read.user
  if (!user.isQuoted && user.text.startsWith('+'))
    return { error: `${user.text} cannot be used: pgmux does not know the members of roles; name the users` }
  // `all` is a word of the second name only.
  const isAll = !user.isQuoted && user.text === 'all'
  const line = { map: map.text, system: read.system, user: isAll ? ({ kind: 'all' } as const) : read.user }
  return groupProblem(line) ?? line
}

function mapped({ text }: Token): Exclude<MappedName, { kind: 'all' }> | Problem {
  if (!text.startsWith('/')) return { kind: 'exact', name: text }
  const pattern = compileRegex(text.slice(1))
  if (!(pattern instanceof Error)) return { kind: 'pattern', pattern }
  return { error: `invalid regular expression "${text.slice(1)}": ${pattern.message}` }
}

/** What `\1` stands for must be beyond doubt: it decides who somebody is. */
function groupProblem({ system, user }: UserMapLine): Problem | null {
  if (system.kind !== 'pattern' || user.kind !== 'exact' || !user.name.includes('\\1')) return null
  const { source, groups, hasSafeGroup } = system.pattern
  if (groups === 0) {
    const text = `regular expression "${source}" has no subexpressions as requested by backreference in`
    return { error: `${text} "${user.name}"` }
  }
  if (hasSafeGroup) return null
  const how = 'it must begin with ^, end in $, and have no |, no *? and no repeated parentheses'
  return { error: `regular expression "${source}" is not plain enough for \\1: ${how}` }
}
