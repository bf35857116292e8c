// Owns what is asked of a database's catalogue so that clients may share servers (sharing.ts), with the
// rules of catalogue-queries.ts, in whose transaction it is asked.
import { BELOW, FIRST_OID, FROM, IS, IS_NOT, NAMES_MAX, PG } from './catalogue-queries.ts'

/** Names of built-in functions, each with: is any of that name volatile? */
export const BUILTINS_QUERY = `select p.proname, ${PG}.bool_or(p.provolatile ${IS} 'v')
from ${PG}.pg_proc p where p.oid ${BELOW} ${FIRST_OID} group by p.proname`

/**
 * k: types of the database, but enums. u: relations that cannot be read without coming to what is not
 * Postgres' own: no tables, or with policies, columns of such types, or such tables below them.
 */
const UNSAFE = `recursive k as (
  select t.oid from ${PG}.pg_type t left join ${PG}.pg_type e on e.oid ${IS} t.typelem
  where t.oid ${FROM} ${FIRST_OID} and t.typtype ${IS_NOT} 'e'
    and (t.typcategory ${IS_NOT} 'A' or e.typtype ${IS_NOT} 'e')
), u as (
  select c.oid from ${PG}.pg_class c
  where c.relkind ${IS_NOT} all (array['r', 'p', 'm']::${PG}."char"[])
    or c.oid ${BELOW} ${FIRST_OID} or c.relam ${FROM} ${FIRST_OID}
    or exists (select 1 from ${PG}.pg_policy p where p.polrelid ${IS} c.oid)
    or exists (select 1 from ${PG}.pg_attribute a join k on k.oid ${IS} a.atttypid
      where a.attrelid ${IS} c.oid and a.attnum operator(${PG}.>) 0)
  union select i.inhparent from u join ${PG}.pg_inherits i on i.inhrelid ${IS} u.oid
)`

/**
 * Relations and composite types, and may they be read (temporary ones are of clients that share nothing);
 * operators, types.
 */
const NAMES = `with ${UNSAFE}
select 'r', c.relname, ${PG}.bool_and(u.oid is null), null
from ${PG}.pg_class c left join u on u.oid ${IS} c.oid
where c.relkind ${IS} any (array['r', 'p', 'v', 'm', 'f', 'S', 'c']::${PG}."char"[])
  and c.relpersistence ${IS_NOT} 't'
group by c.relname
union all select 'o', o.oprname, null, null from ${PG}.pg_operator o where o.oid ${FROM} ${FIRST_OID}
union all select 'y', t.typname, null, null from k join ${PG}.pg_type t on t.oid ${IS} k.oid
where t.typtype ${IS_NOT} 'c' limit ${NAMES_MAX + 1}`

const BUILTINS = `select 'b', b.name, b.is_volatile, null from (${BUILTINS_QUERY}) b (name, is_volatile)`

/**
 * What `SharingFacts` is to know, four columns in each row.
 * @param hasBuiltins the functions of Postgres itself are asked for, too
 */
export function sharingQuery(hasBuiltins: boolean): string {
  return hasBuiltins ? `${NAMES};\n${BUILTINS}` : NAMES
}
