// The one shape in which a login that did not succeed is told. Holds no secret and no byte of one.

/** Why a login failed, as the fields of an ErrorResponse (severity is always FATAL). */
export interface AuthFailure {
  readonly sqlstate: string
  readonly message: string
  /** '' for none. */
  readonly detail: string
  /** '' for none. */
  readonly hint: string
  /** Seconds after which another try is looked at; absent: this one was. */
  readonly retryAfter?: number
}

/** Makes a failure without a hint. */
export function failure(sqlstate: string, message: string, detail = ''): AuthFailure {
  return { sqlstate, message, detail, hint: '' }
}

/** Postgres' words for a wrong password and for an unknown user alike. */
export function wrongPassword(user: string): AuthFailure {
  return failure('28P01', `password authentication failed for user "${user}"`)
}

/** Answer while more password work is waiting than its queue takes. */
export function tooBusy(): AuthFailure {
  return {
    sqlstate: '53300',
    message: 'too many logins are waiting for their password to be checked',
    detail: '',
    hint: 'Try again in a moment.',
  }
}
