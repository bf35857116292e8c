// The words for what the frontend refuses: Postgres' own where Postgres has the case (DESIGN section 8). Data
// only.
import type { AuthFailure } from '../auth/failure.ts'
import type { Refusal } from '../pool/types.ts'

function refusal(severity: 'ERROR' | 'FATAL', code: string, message: string, reason: string): Refusal {
  return { severity, code, message, reason }
}

/** A login that has failed. `reason` is of the closed list of refusals. */
export function loginFailed({ sqlstate, message, detail, hint }: AuthFailure, reason: string): Refusal {
  return {
    ...refusal('FATAL', sqlstate, message, reason),
    ...(detail === '' ? {} : { detail }),
    ...(hint === '' ? {} : { hint }),
  }
}

/** A message of an unknown type or an impossible length. */
export function malformed(type: number, problem: string): Refusal {
  const message = problem === 'invalid message type' ? `invalid frontend message type ${type}` : problem
  return refusal('FATAL', '08P01', message, 'malformed_message')
}

/** Names longer than can be looked at, or more messages in a batch than are kept. */
export function tooLong(): Refusal {
  return {
    ...refusal('FATAL', '54000', 'the message or batch exceeds a limit of the pooler', 'message_limit'),
    hint: 'Use shorter statement and portal names, and fewer messages before each Sync.',
  }
}

export function cancelled(): Refusal {
  return refusal('ERROR', '57014', 'canceling statement due to user request', 'cancelled_while_waiting')
}

export function timedOut(what: 'idle' | 'idle transaction' | 'transaction' | 'batch' | 'login'): Refusal {
  switch (what) {
    case 'idle':
      return refusal(
        'FATAL',
        '57P05',
        'terminating connection due to idle-session timeout',
        'client_idle_timeout',
      )
    case 'idle transaction':
      return refusal(
        'FATAL',
        '25P03',
        'terminating connection due to idle-in-transaction timeout',
        'idle_transaction_timeout',
      )
    case 'transaction':
      return refusal(
        'FATAL',
        '25P04',
        'terminating connection due to transaction timeout',
        'transaction_timeout',
      )
    case 'batch':
      return refusal(
        'FATAL',
        '08P01',
        'client_batch_timeout: a message or batch was left half sent',
        'batch_timeout',
      )
    case 'login':
      return refusal('FATAL', '08P01', 'client_login_timeout', 'login_timeout')
  }
}

/** What PgBouncer says where one of these is reached: people look for it in logs. */
const WORDS_OF_PGBOUNCER: Readonly<Record<string, string>> = {
  'client.max_connections': 'no more connections allowed (max_client_conn)',
  'client.max_per_database': 'client connections exceeded (max_db_client_connections)',
  'client.max_per_user': 'client connections exceeded (max_user_client_connections)',
}

export function tooManyClients(limit: string): Refusal {
  const known = WORDS_OF_PGBOUNCER[limit]
  return {
    ...refusal('FATAL', '53300', 'sorry, too many clients already', limit),
    detail: known === undefined ? `Limit: ${limit}.` : `Limit: ${limit}: ${known}.`,
  }
}

/** @param max of bytes */
export function notificationsNotTaken(max: number): Refusal {
  return {
    ...refusal(
      'FATAL',
      '53400',
      'the notifications for this client are not taken',
      'notifications_not_taken',
    ),
    detail: `More than ${max} bytes of them wait.`,
    hint: 'Read them, or leave the transaction in which none may be sent; see client.notification_buffer.',
  }
}

export function outOfMemory(): Refusal {
  return {
    ...refusal('FATAL', '53200', 'out of memory', 'memory'),
    detail: 'The pooler takes no new clients while its memory is nearly used up.',
    hint: 'Raise the memory limit of its container or client.memory_limit, or lower client.max_connections.',
  }
}

export function shuttingDown(): Refusal {
  return refusal('FATAL', '57P03', 'the database system is shutting down', 'shutdown')
}

/** A startup parameter `replication` that is no boolean, in Postgres' words. */
export function badReplication(value: string): Refusal {
  return {
    severity: 'FATAL',
    code: '22023',
    message: `invalid value for parameter "replication": "${value}"`,
    hint: 'Valid values are: "false", 0, "true", 1, "database".',
    reason: 'bad_startup',
  }
}

/** The console is no database. */
export function notReplicated(): Refusal {
  return refusal('FATAL', '0A000', 'the console takes no replication connections', 'bad_startup')
}

/** Tokens are for statements. */
export function notForTokens(): Refusal {
  const message = 'a token opens neither the console nor a replication connection'
  return refusal('FATAL', '0A000', message, 'not_allowed')
}

/** What let a client in is over. */
export const TOKEN_ENDED: Refusal = {
  ...refusal('FATAL', '28000', 'terminating connection because its token has expired', 'token_expired'),
  hint: 'Connect again with a new token.',
}

/** The configuration has no such database any more. */
export function databaseRemoved(name: string): Refusal {
  return {
    ...refusal('FATAL', '57P04', 'database removed', 'database_removed'),
    detail: `"${name}" is no longer in the configuration of the pooler.`,
  }
}

/** The configuration has no such user any more. */
export function userRemoved(name: string): Refusal {
  return {
    ...refusal('FATAL', '57P01', 'terminating connection due to administrator command', 'user_removed'),
    detail: `User "${name}" is no longer in the configuration of the pooler.`,
  }
}

/** A handshake did not come to its end. Only the log hears of it. */
export function tlsFailed(message: string): Refusal {
  return refusal('FATAL', '08P01', message, 'tls_failed')
}

/** The client showed a certificate that is expired, of a stranger, or no certificate for clients. */
export function badCertificate(problem: string): Refusal {
  return {
    ...refusal('FATAL', '28000', `client certificate verification failed: ${problem}`, 'client_certificate'),
    hint: 'Show a certificate signed by an authority of client.tls.ca_file, or none (sslcert=).',
  }
}

/** The pooler stops. */
export const SHUTDOWN: Refusal = {
  severity: 'FATAL',
  code: '57P01',
  message: 'terminating connection due to administrator command',
  reason: 'shutdown',
}

/** CVE-2021-23214: what was sent in the clear must not count as said inside TLS. */
export function unencrypted(what: string): Refusal {
  return {
    severity: 'FATAL',
    code: '08P01',
    message: `received unencrypted data after ${what} request`,
    detail:
      'This could be either a client-software bug or evidence of an attempted man-in-the-middle attack.',
    reason: 'unencrypted_data',
  }
}
