// Owns the shape of what the grammar says about a statement: what it is, what it names, which state of a
// session it touches. Plain data, without judgement about pools.

/** What a statement does or may do; a bit set. */
export const Act = {
  /** Makes or changes an object that is certainly temporary. */
  Temp: 1,
  /** Makes a relation, function, type, ..: temporary too if the search path begins with pg_temp. */
  Creates: 1 << 1,
  /** Calls a function of session-level advisory locks. */
  Locks: 1 << 2,
  /** DECLARE .. WITH HOLD. */
  Holds: 1 << 3,
  /** LOAD. */
  Loads: 1 << 4,
  /** setseed, SET seed, functions of extensions that keep state in the session. */
  Backend: 1 << 5,
  /** nextval, setval. */
  WritesSequence: 1 << 6,
  /** currval, lastval. */
  ReadsSequence: 1 << 7,
  /** DO, CALL, or a function that runs SQL text. */
  Runs: 1 << 8,
  /** BEGIN, START TRANSACTION. */
  Begins: 1 << 9,
  /** COMMIT, END, ROLLBACK, ABORT, PREPARE TRANSACTION; with AND CHAIN too. */
  Ends: 1 << 10,
  /** SAVEPOINT, RELEASE, ROLLBACK TO. */
  Savepoint: 1 << 11,
  /** SET TRANSACTION, or SET of a setting that is the transaction's own. */
  Transaction: 1 << 12,
  /** RESET ALL. */
  ResetsAll: 1 << 13,
  /** DISCARD ALL; with it come DiscardsTemp, DiscardsSequences, DiscardsPlans. */
  DiscardsAll: 1 << 14,
  DiscardsTemp: 1 << 15,
  DiscardsSequences: 1 << 16,
  DiscardsPlans: 1 << 17,
  /** NOTIFY, pg_notify. */
  Notifies: 1 << 18,
  /** LISTEN, UNLISTEN. */
  Listens: 1 << 19,
  /** A built-in function with an effect that "read only" does not stop, but no session state. */
  Effects: 1 << 20,
  /** Names what shows things that other clients left on the server. */
  Peeks: 1 << 21,
  /** SHOW, current_setting, pg_settings. */
  Shows: 1 << 22,
  Copies: 1 << 23,
  Explains: 1 << 24,
  /** Anything but a plain query: no SELECT, or with INTO, FOR UPDATE, or an INSERT in a WITH. */
  Writes: 1 << 25,
  /** Makes a table with ON COMMIT DROP. */
  Fleeting: 1 << 28,
} as const

/** A name with its schema, null if it has none. */
export interface Name {
  readonly schema: string | null
  readonly name: string
}

/** Where a setting's new value comes from. */
export type ValueKind = 'constant' | 'bound' | 'computed' | 'default' | 'current'

/** SET, RESET, or a call of set_config; SET SESSION CHARACTERISTICS is several. */
export interface SettingChange {
  /** In lower case; null: it is computed, or bound to `parameter`. */
  readonly name: string | null
  /** n, where the name is $n; 0 otherwise. */
  readonly parameter: number
  readonly value: ValueKind
  /** The parts of a constant as they were written, SQL's quotes taken off; [] otherwise. */
  readonly values: readonly string[]
  /** Ends with the transaction; null: only the server will know. */
  readonly isLocal: boolean | null
  /** set_config: it may run for many rows, or for none. */
  readonly isCall: boolean
}

/** PREPARE, EXECUTE (alone, in EXPLAIN, in CREATE TABLE AS) or DEALLOCATE. */
export interface PreparedUse {
  readonly how: 'prepare' | 'execute' | 'deallocate'
  /** null: DEALLOCATE ALL. */
  readonly name: string | null
  /** What is prepared; its facts count when it is executed. */
  readonly body: Statement | null
}

export interface ChannelUse {
  readonly how: 'listen' | 'unlisten'
  /** null: UNLISTEN *. */
  readonly name: string | null
}

/** One statement of a text. Lists hold each thing once, in no particular order. */
export interface Statement {
  /** As the grammar calls it: SelectStmt, VariableSetStmt, .. */
  readonly kind: string
  /** Where it stands in what the grammar was given, in bytes; `stop` null: to the end. */
  readonly start: number
  readonly stop: number | null
  readonly acts: number
  readonly settings: readonly SettingChange[]
  readonly prepared: readonly PreparedUse[]
  readonly channels: readonly ChannelUse[]
  /** Functions that are called, built-in ones too; those of a view's or function's definition are not. */
  readonly functions: readonly Name[]
  /** `x.name` and `(x).name`: a column, or a function called without its parentheses. */
  readonly attributes: readonly string[]
  /** Tables and views, without the names that WITH makes. */
  readonly relations: readonly Name[]
  readonly operators: readonly Name[]
  readonly types: readonly Name[]
}

/** All statements of a text; null: unknown, so it may do anything. */
export type Verdict = readonly Statement[] | null
