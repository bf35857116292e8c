// Owns what is asked of a database's catalogue: its functions, what makes them run without being named, and
// whether any of that has changed. For Postgres 13 to 18 and users without privileges. It never relies on
// the search path (all operators, functions and types are qualified; no IN, CASE x WHEN, USING, NULLIF),
// never calls what locks tables (pg_get_viewdef, pg_get_function_sqlbody, pg_partition_tree), and has a
// limit for rows.

import { ADVISORY_LOCKS, STATE_FUNCTIONS, TEXT_RUNNERS } from './builtins.ts'

/** Objects below this were made by initdb. */
export const FIRST_OID = 16384
/** Longest body that is looked into, in bytes. */
const SOURCE_MAX = 256 * 1024
/** Rows that are read of each kind; with more, any statement may do anything. */
export const ROUTINES_MAX = 20_000
export const NAMES_MAX = 100_000
export const LINKS_MAX = 200_000

/** What Postgres may take for one of these queries. */
const ANSWER_MS = 20_000

// Each name of Postgres with its schema.
export const PG = 'pg_catalog'
export const IS = 'operator(pg_catalog.=)'
export const IS_NOT = 'operator(pg_catalog.<>)'
export const FROM = 'operator(pg_catalog.>=)'
export const BELOW = 'operator(pg_catalog.<)'
const TEXT = 'pg_catalog.text'

/** Numbers of catalogues, as pg_depend has them. */
const CLASS = {
  type: 1247,
  routine: 1255,
  relation: 1259,
  rule: 2618,
  trigger: 2620,
  default: 2604,
  constraint: 2606,
  policy: 3256,
  statistics: 3381,
} as const

/**
 * Whatever is made of a function and is not named where it is used: pg_amop, pg_amproc, pg_cast,
 * pg_conversion, pg_opclass, pg_operator, pg_opfamily, pg_transform, pg_ts_parser, pg_ts_template.
 */
const NAMELESS = [2602, 2603, 2605, 2607, 2616, 2617, 2753, 3576, 3601, 3764]

/** An aggregate is written in the functions that it is made of. */
const AGGREGATE_BODY = `${PG}.concat_ws(' ', a.aggtransfn, a.aggfinalfn, a.aggcombinefn, a.aggserialfn,
      a.aggdeserialfn, a.aggmtransfn, a.aggminvtransfn, a.aggmfinalfn)`

/** Functions of Postgres' own that change a session: nothing in pg_depend tells who calls them. */
const BUILTINS = [...ADVISORY_LOCKS, ...STATE_FUNCTIONS, ...TEXT_RUNNERS, 'set_config']
const IS_TOUCHING_BUILTIN = `p.oid ${BELOW} ${FIRST_OID}
  and p.proname::${TEXT} ${IS} any (array['${BUILTINS.join("','")}'])`

/**
 * All functions that initdb did not make: number, name, language, body (internal: the name in Postgres'
 * source; '' where it is too long or in another language than those that are read), is it too long,
 * extension. What stands in default values for arguments, and in bodies that are kept parsed, is said by
 * links.
 */
const ROUTINES_QUERY = `select p.oid, p.proname, b.language,
  case when b.is_long or b.language ${IS_NOT} all (array['sql', 'plpgsql', 'internal']) then ''
    else b.body end,
  b.is_long, e.extname
from ${PG}.pg_proc p
  join ${PG}.pg_language l on l.oid ${IS} p.prolang
  left join ${PG}.pg_aggregate a on a.aggfnoid ${IS} p.oid
  cross join lateral (select
    case when a.aggfnoid is null then l.lanname::${TEXT} else 'sql' end as language,
    case when a.aggfnoid is null then p.prosrc else ${AGGREGATE_BODY} end as body,
    ${PG}.octet_length(p.prosrc) operator(${PG}.>) ${SOURCE_MAX} as is_long) b
  left join ${PG}.pg_depend d on d.classid ${IS} ${CLASS.routine}
    and d.objid ${IS} p.oid and d.deptype ${IS} 'e'
  left join ${PG}.pg_extension e on e.oid ${IS} d.refobjid
where p.oid ${FROM} ${FIRST_OID} limit ${ROUTINES_MAX + 1}`

/**
 * Nodes (`Place` in reach.ts: a letter and a number) with their names: functions, relations, indexes on
 * expressions, types.
 */
const NAMES_QUERY = `select 'f', p.oid, p.proname from ${PG}.pg_proc p
where p.oid ${FROM} ${FIRST_OID}
union all select 'b', p.oid, p.proname from ${PG}.pg_proc p where ${IS_TOUCHING_BUILTIN}
union all select 'r', c.oid, c.relname from ${PG}.pg_class c
  left join ${PG}.pg_index i on i.indexrelid ${IS} c.oid
where c.relkind ${IS} any (array['r', 'p', 'v', 'm', 'f', 'S']::${PG}."char"[])
  or i.indexprs is not null or i.indpred is not null or c.relam ${FROM} ${FIRST_OID}
union all select 't', t.oid, t.typname from ${PG}.pg_type t
where t.oid ${FROM} ${FIRST_OID}
limit ${NAMES_MAX + 1}`

/** Every row of pg_depend that may matter, once: who depends (class, number) on which node. */
const DEPENDENCIES = `d as materialized (
  select distinct d.classid, d.objid, d.refclassid, ${PG}.concat(
    case when d.refclassid ${IS} ${CLASS.routine} then 'f' when d.refclassid ${IS} ${CLASS.type} then 't'
      else 'r' end, d.refobjid) as node
  from ${PG}.pg_depend d
  where d.refclassid ${IS} any (array[${CLASS.routine}, ${CLASS.type}]::${PG}.oid[])
    or d.refclassid ${IS} ${CLASS.relation}
      and d.classid ${IS} any (array[${CLASS.routine}, ${CLASS.rule}, ${CLASS.policy}]::${PG}.oid[])
)`

/** The relations of the names above that outlive a session, and composite types. */
const LASTING = `r as materialized (
  select c.oid, c.relname, c.relam from ${PG}.pg_class c
  where c.relkind ${IS} any (array['r', 'p', 'v', 'm', 'f', 'S', 'c']::${PG}."char"[])
    and c.relpersistence ${IS_NOT} 't'
)`

/** What is compared: rows, each by its number and the transaction that wrote it, or by what counts in it. */
const WATCHED: readonly (readonly [from: string, ...values: string[]])[] = [
  ['r o', 'o.oid', 'o.relname', 'o.relam'],
  [`${PG}.pg_proc o where o.oid ${FROM} ${FIRST_OID}`],
  [`${PG}.pg_trigger o join r on r.oid ${IS} o.tgrelid where not o.tgisinternal`],
  [`${PG}.pg_rewrite o join r on r.oid ${IS} o.ev_class where o.oid ${FROM} ${FIRST_OID}`],
  [`${PG}.pg_attrdef o join r on r.oid ${IS} o.adrelid`],
  [
    `${PG}.pg_constraint o left join r on r.oid ${IS} o.conrelid
      where o.contype ${IS} any (array['c', 'f']::${PG}."char"[])
        and (r.oid is not null or o.conrelid ${IS} 0)`,
    'o.oid',
    'o.xmin',
  ],
  [`${PG}.pg_policy o`],
  [`${PG}.pg_statistic_ext o`],
  [`${PG}.pg_inherits o`, 'o.inhrelid', 'o.inhparent'],
  [`${PG}.pg_index o where o.indexprs is not null or o.indpred is not null`, 'o.indexrelid'],
  [
    `${PG}.pg_attribute o join r on r.oid ${IS} o.attrelid where o.atttypid ${FROM} ${FIRST_OID}`,
    'o.attrelid',
    'o.atttypid',
  ],
  [
    `${PG}.pg_type o where o.oid ${FROM} ${FIRST_OID} and o.typtype ${IS_NOT} 'c'
      and o.typcategory ${IS_NOT} 'A'`,
  ],
  ...[
    ...['amproc', 'cast', 'conversion', 'event_trigger', 'foreign_data_wrapper', 'opclass', 'operator'],
    ...['transform', 'ts_parser', 'ts_template'],
  ].map((name) => [`${PG}.pg_${name} o where o.oid ${FROM} ${FIRST_OID}`] as const),
]

/** In the digest, in front of what tells of columns. */
export const COLUMNS = ' columns '

/**
 * Types of columns: with others a text is made into another statement, but reaches no other function. By the
 * index of pg_class if need be: nothing is known of how many rows `r` has.
 */
const COLUMNS_QUERY = `select ${PG}.concat(${PG}.count(*), ':', ${PG}.sum(${PG}.hashint8extended(
    (o.attrelid::${PG}.int8 operator(${PG}.*) 2048) operator(${PG}.+) o.attnum, o.atttypid::${PG}.int8)))
  from ${PG}.pg_attribute o join ${PG}.pg_class c on c.oid ${IS} o.attrelid
  where o.attnum operator(${PG}.>) 0 and o.attrelid ${FROM} ${FIRST_OID}
    and c.relpersistence ${IS_NOT} 't'`

/**
 * One text that is another one when a function, or anything by which functions are reached, was made,
 * changed, renamed or dropped; behind `COLUMNS` the same of columns. Temporary tables do not count.
 */
const DIGEST_QUERY = `with ${LASTING} select ${PG}.concat(${PG}.concat_ws(' ',
${WATCHED.map(([from, ...values]) => `  (${sum(from, values)})`).join(',\n')}),
  '${COLUMNS}', (${COLUMNS_QUERY}))`

function sum(from: string, values: readonly string[]): string {
  const all = values.length > 0 ? values.join(', ') : 'o.oid, o.xmin'
  return `select ${PG}.concat(${PG}.count(*), ':', ${PG}.sum(${PG}.hashtextextended(
    ${PG}.concat_ws(' ', ${all}), 0))) from ${from}`
}

interface Link {
  /** The catalogue that depends, its table with an alias, and on what the two are joined. */
  readonly of: number
  readonly table: string
  readonly on: string
  /** Nodes as letter and column. */
  readonly to: readonly (readonly [letter: string, column: string])[]
  readonly where?: string
  /** The column that holds an expression in which built-in functions are looked for. */
  readonly texts?: string | ((major: number) => string)
}

const LINKS: readonly Link[] = [
  {
    of: CLASS.trigger,
    table: 'pg_trigger o',
    on: 'o.oid',
    to: [['r', 'o.tgrelid']],
    texts: 'o.tgqual',
  },
  {
    // TRUNCATE goes through all foreign keys, whatever they do on deletion.
    of: CLASS.trigger,
    table: 'pg_trigger o',
    on: 'o.oid',
    to: [['x', 'o.tgrelid']],
    where: `(o.tgtype::int operator(${PG}.&) 32) ${IS_NOT} 0`,
  },
  {
    // Of the views that initdb made only pg_settings does more than look.
    of: CLASS.rule,
    table: 'pg_rewrite o',
    on: 'o.oid',
    to: [['r', 'o.ev_class']],
    texts: `case when o.oid ${FROM} ${FIRST_OID} or o.ev_type ${IS_NOT} '1'
      then ${PG}.concat(o.ev_qual, o.ev_action) end`,
  },
  { of: CLASS.default, table: 'pg_attrdef o', on: 'o.oid', to: [['r', 'o.adrelid']], texts: 'o.adbin' },
  {
    of: CLASS.constraint,
    table: 'pg_constraint o',
    on: 'o.oid',
    to: [
      ['r', 'o.conrelid'],
      ['t', 'o.contypid'],
    ],
    texts: 'o.conbin',
  },
  {
    of: CLASS.policy,
    table: 'pg_policy o',
    on: 'o.oid',
    to: [['r', 'o.polrelid']],
    texts: `${PG}.concat(o.polqual, o.polwithcheck)`,
  },
  {
    of: CLASS.relation,
    table: 'pg_index o',
    on: 'o.indexrelid',
    to: [
      ['r', 'o.indrelid'],
      ['m', ''],
    ],
  },
  {
    // A table that depends on a function has it in its partition key. For an index this is its own name.
    of: CLASS.relation,
    table: 'pg_class o',
    on: 'o.oid',
    to: [
      ['r', 'o.oid'],
      ['k', 'o.oid'],
    ],
    where: `d.refclassid ${IS} ${CLASS.routine}`,
  },
  {
    of: CLASS.relation,
    table: 'pg_class o',
    on: 'o.oid',
    to: [
      ['r', 'o.oid'],
      ['t', 'o.reltype'],
    ],
    where: `d.refclassid ${IS} ${CLASS.type}`,
  },
  {
    of: CLASS.statistics,
    table: 'pg_statistic_ext o',
    on: 'o.oid',
    to: [
      ['r', 'o.stxrelid'],
      ['m', ''],
    ],
  },
  {
    of: CLASS.type,
    table: 'pg_type o',
    on: 'o.oid',
    to: [['t', 'o.oid']],
    where: `(d.refclassid ${IS} ${CLASS.type} or o.typtype ${IS} 'd')`,
    texts: `case when o.typtype ${IS} 'd' then o.typdefaultbin end`,
  },
  {
    of: CLASS.type,
    table: 'pg_type o',
    on: 'o.oid',
    to: [['e', '']],
    where: `d.refclassid ${IS} ${CLASS.routine} and o.typtype ${IS_NOT} 'd'`,
  },
  {
    of: CLASS.routine,
    table: 'pg_proc o',
    on: 'o.oid',
    to: [['f', 'o.oid']],
    texts: (major) => `case when o.oid ${FROM} ${FIRST_OID}
      then ${PG}.concat(o.proargdefaults${major >= 14 ? ', o.prosqlbody' : ''}) end`,
  },
]

/** Links that no dependency shows as such. */
const OTHER_LINKS = [
  `select d.node, 'e' from d where d.refclassid ${IS} ${CLASS.routine}
    and d.classid ${IS} any (array[${NAMELESS.join(', ')}]::${PG}.oid[])`,
  // What happens at login is part of every server from its beginning.
  `select ${PG}.concat('f', o.evtfoid), 'd' from ${PG}.pg_event_trigger o where o.evtevent ${IS_NOT} 'login'`,
  `select ${PG}.concat(n.letter, o.inhrelid), ${PG}.concat(n.letter, o.inhparent)
    from ${PG}.pg_inherits o, ${PG}.unnest(array['r', 'x']) n (letter)`,
  // An insert into a partition asks for the key of each table above it.
  `select ${PG}.concat('k', o.inhparent), ${PG}.concat(n.letter, o.inhrelid)
    from ${PG}.pg_inherits o, ${PG}.unnest(array['r', 'k']) n (letter)
    where exists (select from ${PG}.pg_partitioned_table p where p.partexprs is not null)`,
  `select ${PG}.concat('x', o.conrelid), ${PG}.concat('x', o.confrelid) from ${PG}.pg_constraint o
    where o.contype ${IS} 'f'`,
  `select ${PG}.concat('r', o.conrelid), ${PG}.concat('r', o.confrelid) from ${PG}.pg_constraint o
    where o.contype ${IS} 'f' and (o.confdeltype ${IS} any (array['c', 'n', 'd']::${PG}."char"[])
      or o.confupdtype ${IS} any (array['c', 'n', 'd']::${PG}."char"[]))`,
  `select ${PG}.concat('f', w.fdwhandler), ${PG}.concat('r', o.ftrelid) from ${PG}.pg_foreign_table o
    join ${PG}.pg_foreign_server s on s.oid ${IS} o.ftserver
    join ${PG}.pg_foreign_data_wrapper w on w.oid ${IS} s.srvfdw where w.fdwhandler ${FROM} ${FIRST_OID}`,
  `select ${PG}.concat('f', a.amhandler::${PG}.oid), ${PG}.concat('r', n.number) from ${PG}.pg_class o
    join ${PG}.pg_am a on a.oid ${IS} o.relam left join ${PG}.pg_index i on i.indexrelid ${IS} o.oid
    cross join lateral ${PG}.unnest(array[o.oid, i.indrelid]) n (number)
    where a.amhandler ${FROM} ${FIRST_OID} and n.number is not null`,
  `select ${PG}.concat('f', a.amhandler::${PG}.oid), 'm' from ${PG}.pg_am a
    where a.amhandler ${FROM} ${FIRST_OID} and a.amtype ${IS} 'i'`,
]

/**
 * Two nodes in each row: what happens at the first happens to whoever comes to the second.
 * @param major of the server
 */
function linksQuery(major: number): string {
  const links = [
    ...LINKS.flatMap(dependents),
    ...LINKS.flatMap((link) => callers(link, major)),
    ...OTHER_LINKS,
  ]
  return `with ${DEPENDENCIES}, b as materialized (
  select ${PG}.concat(':funcid (', ${PG}.string_agg(p.oid::${TEXT}, '|'), ') ') as pattern
  from ${PG}.pg_proc p where ${IS_TOUCHING_BUILTIN}
), l (source, target) as (
${links.join('\nunion all ')}
)
select distinct l.source, l.target from l where l.source ${IS_NOT} l.target limit ${LINKS_MAX + 1}`
}

function dependents({ of, table, on, to, where }: Link): string[] {
  return to.map(
    ([letter, column]) => `select d.node, ${node(letter, column)} from d join ${PG}.${table}
    on ${on} ${IS} d.objid where d.classid ${IS} ${of}${exists(column)}${where ? ` and ${where}` : ''}`,
  )
}

/** A parsed expression holds the number of each function that it calls. */
function callers({ table, to, texts }: Link, major: number): string[] {
  if (texts === undefined) return []
  const text = typeof texts === 'string' ? texts : texts(major)
  // Few have a match, and a look for all matches costs more than one for any.
  return to.map(
    ([letter, column]) => `select ${PG}.concat('b', m.numbers[1]), ${node(letter, column)}
    from b, ${PG}.${table}, ${PG}.regexp_matches((${text})::${TEXT}, b.pattern, 'g') m (numbers)
    where (${text})::${TEXT} operator(${PG}.~) b.pattern${exists(column)}`,
  )
}

function node(letter: string, column: string): string {
  return column === '' ? `'${letter}'` : `${PG}.concat('${letter}', ${column})`
}

function exists(column: string): string {
  return column === '' ? '' : ` and ${column} ${IS_NOT} 0`
}

/**
 * The digest alone, for a simple query of its own.
 * @param major of the server
 */
export function digestQuery(major: number): string {
  return `${conditions(major)};
${DIGEST_QUERY}`
}

/**
 * Everything in one text, for a simple query of its own: the digest, names, links, functions, told apart by
 * the numbers of their columns (1, 3, 2, 6).
 * @param major of the server
 */
export function surveyQuery(major: number): string {
  return `${digestQuery(major)};
${NAMES_QUERY};
${linksQuery(major)};
${ROUTINES_QUERY}`
}

/** One moment is seen, nobody is waited for, and it ends after a while, whatever the session has set. */
function conditions(major: number): string {
  const times = `set local statement_timeout = ${ANSWER_MS}; set local lock_timeout = ${ANSWER_MS}`
  const isolation = 'set transaction isolation level repeatable read, read only'
  return `${isolation}; ${times}${major >= 17 ? `; set local transaction_timeout = ${ANSWER_MS}` : ''}`
}
