// Owns how SET, RESET and set_config are read from a syntax tree. What it cannot tell is null or 'computed':
// it never guesses what a value will be.

import type { Tree } from './grammar.ts'
import type { SettingChange, ValueKind } from './verdict.ts'
import { lower } from './words.ts'

/** Old names that Postgres still takes. */
const OLD_NAMES: Readonly<Record<string, string>> = {
  sort_mem: 'work_mem',
  vacuum_mem: 'maintenance_work_mem',
}
const TRANSACTION = /^transaction_(isolation|read_only|deferrable)$/
const TEXT_TYPES: ReadonlySet<string> = new Set(['text', 'varchar', 'bpchar', 'name', 'cstring', 'unknown'])

/**
 * Read by Postgres while it makes a statement of a text, without telling when they change and without making
 * the statement anew (as it does for the search path and for row security).
 */
export const READ_UNSEEN: ReadonlySet<string> = new Set([
  'timezone_abbreviations',
  'backslash_quote',
  'transform_null_equals',
  'array_nulls',
  'xmloption',
  'lc_monetary',
  'restrict_nonsystem_relation_kind',
  'extra_float_digits',
  'bytea_output',
])

/** Any setting may become anything. */
export const COMPUTED: SettingChange = {
  name: null,
  parameter: 0,
  value: 'computed',
  values: [],
  isLocal: false,
  isCall: true,
}

/** As Postgres compares names of settings. */
export function settingName(name: string): string {
  const folded = lower(name)
  return OLD_NAMES[folded] ?? folded
}

/** Is the setting the transaction's own, whatever SET says? */
export function isTransactionSetting(name: string): boolean {
  return TRANSACTION.test(name)
}

/** A VariableSetStmt but for RESET ALL and SET TRANSACTION, which change no setting of their own. */
export function readSet(node: Tree): SettingChange[] {
  const args = list(node.args)
  if (node.kind === 'VAR_SET_MULTI') {
    // SESSION CHARACTERISTICS AS TRANSACTION ..
    return args.map((arg) => {
      const { defname, arg: value } = arg.DefElem as { defname: string; arg?: Tree }
      return change(`default_${defname}`, false, value === undefined ? [] : [value])
    })
  }
  const name = settingName(String(node.name))
  const isLocal = node.is_local === true || isTransactionSetting(name)
  switch (node.kind) {
    case 'VAR_SET_VALUE':
      return [change(name, isLocal, args)]
    case 'VAR_SET_CURRENT':
      return [{ ...change(name, isLocal, []), value: 'current' }]
    default:
      return [{ ...change(name, isLocal, []), value: 'default' }]
  }
}

function change(name: string, isLocal: boolean, args: readonly Tree[]): SettingChange {
  const values = args.map(constant)
  const isConstant = values.every((value) => value !== null)
  const value: ValueKind = isConstant ? 'constant' : 'computed'
  return { name, parameter: 0, value, values: isConstant ? values : [], isLocal, isCall: false }
}

/** A call of set_config(name, value, is_local), in any notation. */
export function readSetConfig(call: Tree): SettingChange {
  let [name, value, local] = list(call.args) as (Tree | undefined)[]
  for (const arg of list(call.args)) {
    const named = arg.NamedArgExpr as { name: string; arg: Tree } | undefined
    if (named === undefined) continue
    if (named.name === 'setting_name') name = named.arg
    else if (named.name === 'new_value') value = named.arg
    else local = named.arg
  }
  const isArray = call.func_variadic === true
  const written = name === undefined || isArray ? null : constant(plain(name))
  const bool = (local?.A_Const as Tree | undefined)?.boolval as Tree | undefined
  const isLocal = bool === undefined || isArray ? null : bool.boolval === true
  const known = written === null ? null : settingName(written)
  return {
    name: known,
    parameter: name === undefined ? 0 : bound(plain(name)),
    ...(value === undefined ? { value: 'computed', values: [] } : source(plain(value))),
    isLocal: known !== null && isTransactionSetting(known) ? true : isLocal,
    isCall: true,
  }
}

function source(node: Tree): { value: ValueKind; values: string[] } {
  if ((node.A_Const as Tree | undefined)?.isnull === true) return { value: 'default', values: [] }
  const text = constant(node)
  if (text !== null) return { value: 'constant', values: [text] }
  return { value: bound(node) > 0 ? 'bound' : 'computed', values: [] }
}

/** Without casts that leave a text as it is. */
function plain(node: Tree): Tree {
  let at = node
  for (
    let cast = at.TypeCast as Tree | undefined;
    cast !== undefined;
    cast = at.TypeCast as Tree | undefined
  ) {
    const type = cast.typeName as {
      names: { String: { sval: string } }[]
      typmods?: unknown
      arrayBounds?: unknown
    }
    if (type.typmods !== undefined || type.arrayBounds !== undefined) return at
    if (!TEXT_TYPES.has(type.names.at(-1)?.String.sval ?? '')) return at
    at = cast.arg as Tree
  }
  return at
}

function bound(node: Tree): number {
  return ((node.ParamRef as Tree | undefined)?.number as number | undefined) ?? 0
}

/** The text of a constant that is not NULL; null if it is none. */
function constant(node: Tree): string | null {
  const value = node.A_Const as Record<string, Tree> | undefined
  if (value === undefined) return null
  if (value.sval !== undefined) return String(value.sval.sval ?? '')
  if (value.ival !== undefined) return String(value.ival.ival ?? 0)
  if (value.fval !== undefined) return String(value.fval.fval ?? '')
  if (value.boolval !== undefined) return String(value.boolval.boolval === true)
  return null
}

/** A list of nodes; [] where the tree has none. */
export function list(value: unknown): Tree[] {
  return Array.isArray(value) ? (value as Tree[]) : []
}
