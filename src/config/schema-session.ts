// The keys of config.yaml about sessions that share servers: what may keep a server for one client. Shape
// only, as schema.ts, which puts them in their places.
import { z } from 'zod'
import { choice, duration, EXPECTS_KEYS, integer, limit, option, optional, section } from './leaves.ts'

const action = choice('allow', 'warn', 'refuse')

/** What keeps a server beyond the transaction, in words. */
const PINS = {
  temp: 'Temporary tables, views, sequences, functions',
  advisory_lock: 'Advisory locks that outlive the transaction',
  cursor: 'Cursors WITH HOLD',
  backend_state: 'What only the process of the server knows: LOAD, setseed, dblink_connect',
  sql_prepare: 'Statements prepared in SQL that cannot be brought to another server',
  listen: 'LISTEN where one connection does not listen for all clients (`session.listen`)',
  custom_setting: 'Settings whose names are not in the statement and may be custom ones',
  privileged_setting: 'Settings that the user of the login may not set',
  by_hand: 'SET pgmux.pin = on',
  large_statement: 'Prepared statements too long to be kept (64 KiB, with a name 256 KiB)',
} as const

type Reason = keyof typeof PINS
const reasons = Object.keys(PINS) as Reason[]

const byDefault = Object.fromEntries(
  reasons.map((reason) => [reason, option(action, 'allow', PINS[reason])]),
) as Record<Reason, ReturnType<typeof option<typeof action.type>>>

const own = Object.fromEntries(reasons.map((reason) => [reason, optional(action, PINS[reason])])) as Record<
  Reason,
  ReturnType<typeof optional<typeof action.type>>
>

/** `session` of the file. */
export const session = section({
  listen: option(
    choice('virtual', 'pin'),
    'virtual',
    'LISTEN: one connection listens for all clients, or a client that listens keeps its server',
  ),
  notify_wait: option(
    duration,
    '50ms',
    'How long an answer waits for notifications that the client has made itself; 0: not at all',
  ),
  max_channels: option(limit, 10_000, 'Channels of one client; with more it keeps its server; 0: all do'),
  pins: section(byDefault),
  max_pinned: option(limit, 0, 'Clients of one pool that keep a server at once; 0: no limit'),
  max_pin_time: option(
    duration,
    '0',
    'A client that keeps a server for longer, and does nothing, is closed; 0: never',
  ),
  witness: option(
    choice('auto', 'always', 'off'),
    'auto',
    'What functions, DO, CALL and triggers do to a session follows its client: where it may be so, asked ' +
      'after every transaction, not at all',
  ),
  custom_names: option(
    choice('relaxed', 'strict'),
    'relaxed',
    'strict: who uses the name of a custom setting (`app.x`) keeps its server, which is closed behind it',
  ),
  sequences: option(
    choice('error', 'pin', 'pass'),
    'error',
    'currval and lastval where others have used the server since: 55000 the first time; who may have taken ' +
      'from a sequence keeps its server; whatever Postgres says, which may be of another client',
  ),
})

/** The same keys of a database or user. */
export const ownPins = {
  pins: z.strictObject(own, { error: EXPECTS_KEYS }).optional(),
  max_pinned: optional(limit, 'Clients of one pool that keep a server at once; 0: no limit'),
  max_pin_time: optional(
    duration,
    'A client that keeps a server for longer, and does nothing, is closed; 0: never',
  ),
}

/** Keys of `pool` about servers that work for several clients at once. */
export const sharing = {
  shared: option(
    choice('auto', 'off'),
    'auto',
    'auto: when no server is free, single quick reads of several clients share one',
  ),
  shared_depth: option(integer(1, 1000), 64, 'Reads that one shared server has in flight at once'),
  shared_max_ms: option(duration, '2ms', 'Statements that take Postgres longer on average are not shared'),
  shared_max_wait: option(
    duration,
    '20ms',
    'When a shared read takes longer, those behind it are sent to other servers',
  ),
}
