// The words about pins: what a client reads when it is warned, refused or ended over one, and what operators
// read. Data and messages only; it decides nothing.
import { noticeResponse } from '../wire/error-response.ts'
import type { Pin, PinReason, PinRefusal } from './pins.ts'

interface Words {
  readonly what: string
  /** What a client can do. */
  readonly advice: string
}

/** Of each reason that a client can meet. */
const WORDS: Readonly<Record<PinReason, Words>> = {
  temp: {
    what: 'temporary objects',
    advice: 'Drop them, or make them in a transaction with ON COMMIT DROP.',
  },
  advisory_lock: {
    what: 'an advisory lock of the session',
    advice: 'Unlock it, or use pg_advisory_xact_lock in a transaction.',
  },
  cursor: {
    what: 'a cursor WITH HOLD',
    advice: 'Close it, or use a cursor within a transaction.',
  },
  backend_state: {
    what: 'state in the process of the server (LOAD, setseed, dblink_connect)',
    advice: 'End it with DISCARD ALL, or use a pool in session mode.',
  },
  sql_prepare: {
    what: 'a statement prepared in SQL',
    advice: 'DEALLOCATE it, or use the prepared statements of the protocol.',
  },
  listen: {
    what: 'LISTEN',
    advice: 'UNLISTEN, or use a pool in session mode.',
  },
  custom_setting: {
    what: 'a setting whose name is not in the statement',
    advice: 'Write the name of the setting into the statement.',
  },
  privileged_setting: {
    what: 'a setting that the user may not set',
    advice: 'RESET it, or give it to the role with ALTER ROLE ... SET.',
  },
  large_statement: {
    what: 'a prepared statement that is too long to be kept',
    advice: 'Close it, or keep statements below 64 KiB (256 KiB with a name): use parameters or COPY.',
  },
  by_hand: {
    what: 'SET pgmux.pin = on',
    advice: 'SET pgmux.pin = off.',
  },
  custom_name: {
    what: 'the name of a custom setting (session.custom_names is strict)',
    advice: 'Use a pool in session mode.',
  },
  sequence: {
    what: 'a value of a sequence that currval or lastval may ask for',
    advice: 'Use INSERT ... RETURNING.',
  },
  session: { what: 'the mode of the pool', advice: 'Use a pool in transaction mode.' },
}

/** A pin in words. */
export function pinInWords(reason: PinReason): string {
  return WORDS[reason].what
}

/** For a client whose session is pinned from now on. */
export function pinWarning({ reason }: Pin): Buffer {
  return noticeResponse({
    severity: 'WARNING',
    code: '01000',
    message: `the session keeps a connection to Postgres for itself: ${pinInWords(reason)}`,
    detail: 'As long as this is there, nobody else can use that connection.',
    hint: `${WORDS[reason].advice} (session.pins.${reason})`,
  })
}

/** The policy does not allow such a pin. */
export function pinForbidden(reason: PinReason, severity: PinRefusal['severity']): PinRefusal {
  return {
    severity,
    code: '0A000',
    message: `this pool keeps no session on one server: ${pinInWords(reason)}`,
    detail: `session.pins.${reason} is refuse.`,
    hint: `${WORDS[reason].advice} Or set session.pins.${reason} to allow or warn.`,
    reason: 'pin_refused',
  }
}

/** Enough clients are pinned. */
export function tooManyPinned(reason: PinReason, max: number, severity: PinRefusal['severity']): PinRefusal {
  return {
    severity,
    code: '53300',
    message: `too many sessions of this pool keep a server for themselves: ${pinInWords(reason)}`,
    detail: `session.max_pinned is ${max}.`,
    hint: `${WORDS[reason].advice} Or raise session.max_pinned.`,
    reason: 'max_pinned',
  }
}

/** It was pinned for too long and did nothing. */
export function pinnedTooLong({ reason, statement }: Pin, ageMs: number): PinRefusal {
  const by = statement === '' ? '' : `, by: ${statement}`
  return {
    severity: 'FATAL',
    code: '57P05',
    message: 'terminating connection because the session kept a server for too long',
    detail: `For ${Math.round(ageMs / 1000)} s it had ${pinInWords(reason)}${by}`,
    hint: `${WORDS[reason].advice} Or raise session.max_pin_time.`,
    reason: 'max_pin_time',
  }
}
