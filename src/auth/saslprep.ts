// A password as the bytes that SCRAM hashes, by Postgres' rule: what SASLprep (RFC 4013) refuses is used as
// it is.
import { saslprep } from '@mongodb-js/saslprep'

/** Prepares a password for SCRAM. Never fails. */
export function preparePassword(password: string): Buffer {
  return Buffer.from(prepared(password), 'utf8')
}

function prepared(password: string): string {
  // Postgres takes ASCII without a look, control characters included.
  if (/^[\0-\x7f]*$/.test(password)) return password
  try {
    const result = saslprep(password)
    return result === '' ? password : result
  } catch {
    return password
  }
}
