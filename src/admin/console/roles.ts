// What a user may do in the console and at the dashboard, as the configuration says. Pure.
import type { AdminConfig } from '../../config/types.ts'
import type { Role } from './types.ts'

/** Null: nothing. */
export function roleIn({ users, statsUsers }: AdminConfig, user: string): Role | null {
  if (users.includes(user)) return 'admin'
  return statsUsers.includes(user) ? 'stats' : null
}
