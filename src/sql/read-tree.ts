// Owns the way from a syntax tree to a verdict: one walk without recursion over every node, so that nothing
// that the grammar lets stand somewhere is overlooked. What a definition (view, function, rule, policy) only
// stores is not run and does not count. It never judges names: it lists them.

import {
  ADVISORY_LOCKS,
  CHANNEL_FUNCTIONS,
  EFFECTS,
  PEEKS,
  SEQUENCE_READERS,
  SEQUENCE_WRITERS,
  STATE_FUNCTIONS,
  TEXT_RUNNERS,
} from './builtins.ts'
import type { Tree } from './grammar.ts'
import { COMPUTED, list, readSet, readSetConfig } from './settings.ts'
import { Act } from './verdict.ts'
import type { ChannelUse, Name, PreparedUse, SettingChange, Statement } from './verdict.ts'

const TEMP_SCHEMA = /^pg_(toast_)?temp(_\d+)?$/
const CURSOR_HOLD = 0x20
const NOTHING: readonly never[] = Object.freeze([])

/** Acts of a function by its name, and of a relation. */
const FUNCTION_ACTS = new Map<string, number>([
  ...each(ADVISORY_LOCKS, Act.Locks),
  ...each(SEQUENCE_READERS, Act.ReadsSequence),
  ...each(SEQUENCE_WRITERS, Act.WritesSequence),
  ...each(CHANNEL_FUNCTIONS, Act.Notifies),
  ...each(STATE_FUNCTIONS, Act.Backend),
  ...each(TEXT_RUNNERS, Act.Runs),
  ...each(EFFECTS, Act.Effects),
  ...each(PEEKS, Act.Peeks),
  ...each(['current_setting', 'pg_show_all_settings', 'pg_settings'], Act.Shows),
])

/** Acts of a statement by its kind alone. Those that are not here write. */
const KIND_ACTS: Readonly<Record<string, number>> = {
  SelectStmt: 0,
  CallStmt: Act.Runs | Act.Writes,
  CopyStmt: Act.Copies | Act.Writes,
  DoStmt: Act.Runs | Act.Writes,
  ExplainStmt: Act.Explains,
  ListenStmt: Act.Listens | Act.Writes,
  UnlistenStmt: Act.Listens | Act.Writes,
  NotifyStmt: Act.Notifies | Act.Writes,
  LoadStmt: Act.Loads | Act.Writes,
  VariableShowStmt: Act.Shows,
}
const CREATES = /^(Create|Define|View|CompositeType|Import)/

const TRANSACTION_ACTS: Readonly<Record<string, number>> = {
  TRANS_STMT_BEGIN: Act.Begins,
  TRANS_STMT_START: Act.Begins,
  TRANS_STMT_COMMIT: Act.Ends,
  TRANS_STMT_ROLLBACK: Act.Ends,
  TRANS_STMT_PREPARE: Act.Ends,
  TRANS_STMT_SAVEPOINT: Act.Savepoint,
  TRANS_STMT_RELEASE: Act.Savepoint,
  TRANS_STMT_ROLLBACK_TO: Act.Savepoint,
}

const DISCARD_ACTS: Readonly<Record<string, number>> = {
  DISCARD_ALL: Act.DiscardsAll | Act.DiscardsTemp | Act.DiscardsSequences | Act.DiscardsPlans,
  DISCARD_TEMP: Act.DiscardsTemp,
  DISCARD_SEQUENCES: Act.DiscardsSequences,
  DISCARD_PLANS: Act.DiscardsPlans,
}

/** The fields of definitions that are more than text for later. */
const FOLLOWED: Readonly<Record<string, readonly string[]>> = {
  ViewStmt: ['view'],
  RuleStmt: ['relation'],
  CreateFunctionStmt: ['funcname'],
  CreatePolicyStmt: ['table'],
  AlterPolicyStmt: ['table'],
  CreateTrigStmt: ['relation'],
  AlterFunctionStmt: [],
  PrepareStmt: [],
  VariableSetStmt: [],
}

/** Statements in which a mention of pg_temp makes nothing. */
const MAKES_NOTHING =
  /^(Select|Insert|Update|Delete|Merge|Drop|Truncate|Execute|Prepare|Copy|Lock|Explain|Vacuum)Stmt$/

/** The names that WITH makes where a node stands. */
interface Scope {
  readonly names: ReadonlySet<string>
  readonly outer: Scope | null
}

/** All statements of a tree. */
export function readTree(tree: Tree): readonly Statement[] {
  return list(tree.stmts).map((raw) => {
    const start = Number(raw.stmt_location ?? 0)
    return readStatement(
      raw.stmt as Tree,
      start,
      raw.stmt_len === undefined ? null : start + Number(raw.stmt_len),
    )
  })
}

/** @param types those of its parameters */
function readStatement(
  wrapped: Tree,
  start: number,
  stop: number | null,
  types: readonly Tree[] = [],
): Statement {
  const kind = Object.keys(wrapped)[0] ?? ''
  const walk = new Walk()
  walk.run(wrapped)
  for (const type of types) walk.run(type)
  const makes = (walk.acts & Act.Creates) !== 0 || !MAKES_NOTHING.test(kind)
  if (walk.mentionsTemp && makes) walk.acts |= Act.Temp
  return {
    kind,
    start,
    stop,
    acts: walk.acts,
    settings: short(walk.settings),
    prepared: short(walk.prepared),
    channels: short(walk.channels),
    functions: short([...walk.functions.values()]),
    attributes: short([...walk.attributes]),
    relations: short([...walk.relations.values()]),
    operators: short([...walk.operators.values()]),
    types: short([...walk.types.values()]),
  }
}

class Walk {
  acts = 0
  mentionsTemp = false
  readonly settings: SettingChange[] = []
  readonly prepared: PreparedUse[] = []
  readonly channels: ChannelUse[] = []
  readonly functions = new Map<string, Name>()
  readonly attributes = new Set<string>()
  readonly relations = new Map<string, Name>()
  readonly operators = new Map<string, Name>()
  readonly types = new Map<string, Name>()
  /** Nodes to be visited, each with the name of its field or kind and its scope. */
  readonly #stack: [key: string, node: Tree, scope: Scope | null][] = []

  run(root: Tree): void {
    this.#push('', root, null)
    for (let next = this.#stack.pop(); next !== undefined; next = this.#stack.pop()) {
      const [key, node, scope] = next
      this.#visit(key, node, scope)
      const fields = FOLLOWED[key] ?? Object.keys(node)
      const inner = this.#with(node.withClause as Tree | undefined, scope)
      // Last things first, so that they are visited in the order of the text.
      for (let i = fields.length - 1; i >= 0; i--) {
        if (fields[i] !== 'withClause') this.#pushAll(fields[i], node[fields[i]], inner)
      }
    }
  }

  #push(key: string, node: Tree, scope: Scope | null): void {
    this.#stack.push([key, node, scope])
  }

  #pushAll(key: string, value: unknown, scope: Scope | null): void {
    if (typeof value !== 'object' || value === null) return
    if (!Array.isArray(value)) this.#push(key, value as Tree, scope)
    else for (let i = value.length - 1; i >= 0; i--) this.#pushAll(key, value[i], scope)
  }

  /** The scope that a WITH makes. Without RECURSIVE its queries see only those before them. */
  #with(clause: Tree | undefined, outer: Scope | null): Scope | null {
    if (clause === undefined) return outer
    const tables = list(clause.ctes).map((cte) => cte.CommonTableExpr as Tree)
    const full = { names: new Set(tables.map((table) => String(table.ctename))), outer }
    const names = new Set<string>()
    for (const table of tables) {
      const before = { names: new Set(names), outer }
      this.#push('CommonTableExpr', table, clause.recursive === true ? full : before)
      names.add(String(table.ctename))
    }
    return full
  }

  #visit(key: string, node: Tree, scope: Scope | null): void {
    if (node.relname !== undefined) {
      // What is written to is never a name that WITH makes.
      this.#relation(node, key === 'relation' ? null : scope)
      return
    }
    if (Array.isArray(node.names) && node.typemod !== undefined) note(this.types, node.names)
    VISITS[key]?.(this, node)
    if (!key.endsWith('Stmt')) return
    this.acts |= KIND_ACTS[key] ?? Act.Writes
    if (CREATES.test(key)) this.acts |= Act.Creates
  }

  #relation(node: Tree, scope: Scope | null): void {
    const schema = optional(node.schemaname)
    const name = String(node.relname)
    if (node.relpersistence === 't') this.acts |= Act.Temp
    if (schema !== null && TEMP_SCHEMA.test(schema)) this.mentionsTemp = true
    if (schema === null && isIn(scope, name)) return
    this.acts |= FUNCTION_ACTS.get(name) ?? 0
    keep(this.relations, { schema, name })
  }
}

/** What nodes of these kinds, or in these fields, say. */
const VISITS: Readonly<Record<string, (walk: Walk, node: Tree) => void>> = {
  FuncCall: visitCall,
  funccall: visitCall,
  RangeTableSample: (walk, node) => note(walk.functions, node.method),
  ColumnRef: (walk, node) => visitAttributes(walk, list(node.fields).slice(1).slice(-1)),
  A_Indirection: (walk, node) => visitAttributes(walk, list(node.indirection)),
  A_Expr: (walk, node) => visitOperator(walk, node.name),
  SubLink: (walk, node) => visitOperator(walk, node.operName),
  SortBy: (walk, node) => visitOperator(walk, node.useOp),
  String: (walk, node) => {
    if (TEMP_SCHEMA.test(String(node.sval))) walk.mentionsTemp = true
  },
  CreateStmt: (walk, node) => {
    if (node.oncommit === 'ONCOMMIT_DROP') walk.acts |= Act.Fleeting
  },
  intoClause: visitInto,
  into: visitInto,
  lockingClause: (walk) => {
    walk.acts |= Act.Writes
  },
  VariableSetStmt: visitSet,
  UpdateStmt: (walk, node) => {
    // The view has a rule that makes it a call of set_config.
    if ((node.relation as Tree).relname === 'pg_settings') walk.settings.push(COMPUTED)
  },
  TransactionStmt: (walk, node) => {
    walk.acts |= TRANSACTION_ACTS[String(node.kind)] ?? 0
  },
  DiscardStmt: (walk, node) => {
    walk.acts |= DISCARD_ACTS[String(node.target)] ?? 0
  },
  DeclareCursorStmt: (walk, node) => {
    if ((Number(node.options) & CURSOR_HOLD) !== 0) walk.acts |= Act.Holds
  },
  PrepareStmt: (walk, node) => {
    walk.prepared.push({
      how: 'prepare',
      name: String(node.name),
      body: readStatement(node.query as Tree, 0, null, list(node.argtypes)),
    })
  },
  ExecuteStmt: (walk, node) => {
    walk.prepared.push({ how: 'execute', name: String(node.name), body: null })
  },
  DeallocateStmt: (walk, node) => {
    walk.prepared.push({ how: 'deallocate', name: optional(node.name), body: null })
  },
  ListenStmt: (walk, node) => {
    walk.channels.push({ how: 'listen', name: String(node.conditionname) })
  },
  UnlistenStmt: (walk, node) => {
    walk.channels.push({ how: 'unlisten', name: optional(node.conditionname) })
  },
}

function visitCall(walk: Walk, node: Tree): void {
  const { name } = nameOf(node.funcname)
  note(walk.functions, node.funcname)
  walk.acts |= FUNCTION_ACTS.get(name) ?? 0
  if (name === 'set_config') walk.settings.push(readSetConfig(node))
}

function visitInto(walk: Walk, node: Tree): void {
  walk.acts |= Act.Creates | Act.Writes
  if (node.onCommit === 'ONCOMMIT_DROP') walk.acts |= Act.Fleeting
}

function visitSet(walk: Walk, node: Tree): void {
  if (node.kind === 'VAR_RESET_ALL') {
    walk.acts |= Act.ResetsAll
  } else if (node.kind === 'VAR_SET_MULTI' && node.name !== 'SESSION CHARACTERISTICS') {
    walk.acts |= Act.Transaction
  } else {
    for (const change of readSet(node)) {
      walk.settings.push(change)
      if (change.name === 'seed') walk.acts |= Act.Backend
      if (change.name?.startsWith('transaction_')) walk.acts |= Act.Transaction
    }
  }
}

function visitAttributes(walk: Walk, fields: readonly Tree[]): void {
  for (const { String: text } of fields) {
    if (text === undefined) continue
    const name = String((text as Tree).sval)
    walk.attributes.add(name)
    walk.acts |= FUNCTION_ACTS.get(name) ?? 0
  }
}

function visitOperator(walk: Walk, names: unknown): void {
  const { schema, name } = nameOf(names)
  if (/BETWEEN/.test(name)) {
    keep(walk.operators, { schema: null, name: '>=' })
    keep(walk.operators, { schema: null, name: '<=' })
  } else if (name !== '') {
    keep(walk.operators, { schema, name })
  }
}

function isIn(scope: Scope | null, name: string): boolean {
  for (let at = scope; at !== null; at = at.outer) if (at.names.has(name)) return true
  return false
}

function note(into: Map<string, Name>, names: unknown): void {
  if (list(names).length > 0) keep(into, nameOf(names))
}

function keep(into: Map<string, Name>, name: Name): void {
  into.set(`${name.schema ?? ''}\0${name.name}`, name)
}

/** Of a list of Strings the last two: a database's name in front is only for show. */
function nameOf(names: unknown): Name {
  const parts = list(names).map((part) => String((part.String as Tree | undefined)?.sval ?? ''))
  return { schema: parts.at(-2) ?? null, name: parts.at(-1) ?? '' }
}

function optional(value: unknown): string | null {
  return typeof value === 'string' && value !== '' ? value : null
}

function short<T>(items: T[]): readonly T[] {
  return items.length === 0 ? NOTHING : items
}

function each(names: Iterable<string>, act: number): [string, number][] {
  return [...names].map((name) => [name, act])
}
