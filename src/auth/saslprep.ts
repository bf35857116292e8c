// A password as the bytes that SCRAM hashes, by Postgres' rule: what SASLprep (RFC 4013) refuses is used as
// it is.
import { saslprep } from '@mongodb-js/saslprep'

/** Longest password that is prepared, in characters: more would hold up everybody. Longer ones are kept. */
const PREPARED_MAX = 4096

/** Prepares a password for SCRAM. Never fails. */
export function preparePassword(password: string): Buffer {
  return Buffer.from(prepared(password), 'utf8')
}

function prepared(password: string): string {
  // Postgres takes ASCII without a look, control characters included.
  if (password.length > PREPARED_MAX || /^[\0-\x7f]*$/.test(password)) return password
  try {
    const result = saslprep(password)
    return result === '' ? password : result
  } catch {
    return password
  }
}
