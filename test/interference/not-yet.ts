// Owns: the scripts that still differ, each with its reason. Must never hold one that does not: the test of
// a script that is listed here fails as soon as nothing differs any more.

/** Name of the script -> why it differs. */
export const notYet: Readonly<Record<string, string>> = listed({
  'Postgres cannot forget a name: on a server where it was used it reads as empty': [
    'custom-names › the NULL of a name that only B has set',
  ],
  'a statement that was prepared in SQL under one encoding is not known by its name under another': [
    'encodings › encoding of names and errors',
  ],
  'a role that has gone cannot be brought to a server again': [
    'roles › a role that is dropped while it is taken',
  ],
  'a server that had temporary objects has an empty schema for them ever after': [
    'show › current_schemas with the temporary schema',
    'temp › pg_my_temp_schema and what is in it',
  ],
  'values that were brought to a server have the session as their source': [
    'show › what is set in the session',
    'show › where each value comes from',
  ],
})

/** The same for those that differ in some runs only: nothing is said of them. */
export const unsteady: Readonly<Record<string, string>> = listed({
  'whether a prepared statement outlived its result is decided by the copy of the server': [
    'cursors › by the protocol',
    'prepare › the table changes under a statement',
    'protocol › the result changes under a statement',
  ],
  "another's notification is on another connection: it may come in front of ReadyForQuery or behind it": [
    'listen › while A is in a transaction',
  ],
  'Postgres analyses a statement again, under the settings of now, when another session makes a schema': [
    'protocol › parsed under the settings of its time',
  ],
  "one's own notification may come behind ReadyForQuery where the statement does not show that it notifies": [
    'copy › COPY with a trigger that listens',
    'listen › notified by a trigger',
  ],
  'a library that somebody has loaded stays in the server, and so its settings are checked': [
    'backend-state › LOAD brings settings that were unknown',
    'backend-state › a name set before its library is loaded',
  ],
  'what a function does that was made a moment ago is not known yet: nothing shows a seed': [
    'backend-state › setseed by a function',
  ],
})

/** The same for those that differ where each statement has a name, or none has: they run in turns only. */
export const inTurns: Readonly<Record<string, string>> = listed({
  'a failure to bring the statement comes in front of the ParseComplete of what names it': [
    'prepare › the table goes',
  ],
  'a Parse of what the server has already is answered at once; that it cannot run any more is told behind it':
    [
      'temp › CREATE TEMPORARY, LOCAL TEMP, GLOBAL TEMP',
      'temp › ON COMMIT DROP',
      'temp › a temporary operator class of things: cast, aggregate',
      'temp › a temporary view',
      'temp › a view that becomes temporary by what it reads',
      'temp › pg_temp in the search_path',
    ],
})

function listed(byReason: Readonly<Record<string, readonly string[]>>): Record<string, string> {
  const entries = Object.entries(byReason)
  return Object.fromEntries(entries.flatMap(([reason, names]) => names.map((name) => [name, reason])))
}
