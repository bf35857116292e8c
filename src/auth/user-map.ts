// Whether somebody whom a certificate names may be a user of the database: the maps of pg_ident.conf. Pure.
import type { MappedName, UserMapLine } from '../config/types.ts'
import { binary, regexFits, regexGroup } from '../util/regex.ts'

/**
 * Whether somebody known as `system` may be `user`: as Postgres, the first line of the map that says so, and
 * without a map only under the same name.
 */
export function isMapped(lines: readonly UserMapLine[], map: string, system: string, user: string): boolean {
  if (map === '') return system === user
  return lines.some((line) => line.map === map && fits(line, system, user))
}

function fits(line: UserMapLine, system: string, user: string): boolean {
  const { system: known } = line
  if (known.kind === 'all') return false
  if (known.kind === 'exact') return known.name === system && isUser(line.user, user)
  if (line.user.kind !== 'exact' || !line.user.name.includes('\\1'))
    return regexFits(known.pattern, system) && isUser(line.user, user)
  const found = regexGroup(known.pattern, system)
  if (found === null || found.group === null) return false
  const group = found.group
  return binary(line.user.name).replace('\\1', () => group) === binary(user)
}

function isUser(allowed: MappedName, user: string): boolean {
  if (allowed.kind === 'all') return true
  return allowed.kind === 'exact' ? allowed.name === user : regexFits(allowed.pattern, user)
}
