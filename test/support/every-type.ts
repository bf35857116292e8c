// Owns: statements whose answers show every kind of type, result and error, for comparing ways to
// Postgres. Must never hold one whose answer depends on when, where or how often it runs: run in their
// order, they leave the database as they found it.

/** What the statements use; run once. */
export const EVERY_TYPE_SETUP = `
  create type mood as enum ('fine', 'bad, "very"', 'sö so');
  create type pair as (a int, b text);
  create domain even as int check (value % 2 = 0);
  create type span as range (subtype = float8);
  create table goods (id int primary key, name text not null unique, price numeric(10, 2) default 0,
    tags text[], feel mood, check (price >= 0));
  insert into goods values (1, 'one', 1.50, '{a,b}', 'fine'), (2, 'two', 2, null, null);
  create table parts (good int references goods, n int);
  insert into parts values (1, 1);
  create view cheap as select id, name from goods where price < 2;
  create function nothing() returns void language sql as '';
  create function shout(text) returns text language sql as 'select upper($1)';
  create function loud() returns void language plpgsql as $$ begin perform 1 / 0; end $$;
  create table none ();
`

const VALUES: readonly string[] = [
  "select 0::int2, 32767::int2, (-32768)::int2, '2147483647'::int4, '-2147483648'::int4",
  "select '9223372036854775807'::int8, '-9223372036854775808'::int8",
  'select 0::numeric, 1.10::numeric, -0.000000000000000000001::numeric, 1e100::numeric, 1.0::numeric(20, 10)',
  "select repeat('9', 200)::numeric, ('0.' || repeat('0', 150) || '7')::numeric",
  "select 'NaN'::numeric, 'NaN'::float8, 'Infinity'::float8, '-Infinity'::float4",
  "select 'Infinity'::numeric, '-Infinity'::numeric",
  'select 0.1::float4, 0.1::float8, 1e-308::float8, 1.7976931348623157e308::float8',
  'select -0.0::float8, 3.0::float4, 0.30000000000000004::float8',
  'select true, false, null::boolean',
  "select ''::text, 'x'::varchar(5), 'ab'::char(5), 'c'::\"char\", ''::\"char\", 'n'::name",
  "select 'caf\u00e9 \u2603 \u{1f600} \u{10ffff} '' \" \\ / \t', E'line\\nbreak\\r\\u0001\\u007f\\u2028'",
  "select '\\x'::bytea, '\\x00ff0122'::bytea, decode(repeat('00', 100), 'hex')",
  "select '4713-01-01 BC'::date, '5874897-12-31'::date, 'infinity'::date, '-infinity'::date",
  "select '2024-02-29'::date, '0001-01-01'::date",
  "select '4713-01-01 00:00:00 BC'::timestamp, '294276-12-31 23:59:59.999999'::timestamp",
  "select 'infinity'::timestamp",
  "select '0001-01-01 00:00:00+00 BC'::timestamptz, '2024-03-31 01:30:00.123456+01'::timestamptz",
  "select '00:00'::time, '24:00:00'::time, '12:34:56.000001'::time, '12:34:56+05:45'::timetz",
  "select '-infinity'::timestamptz, '23:59:60'::time",
  "select '0'::interval, '1 year 2 mons -3 days 04:05:06.789'::interval, '-1 day +00:00:00.000001'::interval",
  "select interval '178000000 years', interval '1 month' * -1.5",
  "select 'a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11'::uuid, '00000000-0000-0000-0000-000000000000'::uuid",
  `select '{"a": [1, 2.50, null, "x\\ny"], "b": {}}'::json, ' [1,  2] '::json, 'null'::json, '"s"'::json`,
  `select '{"b": 1, "a": {"c": 1e400}}'::jsonb, '[]'::jsonb, 'null'::jsonb, '1.10'::jsonb`,
  `select '"\\u00e9"'::jsonb`,
  "select '$.a[*] ? (@ > 1)'::jsonpath",
  "select '{1,2,null}'::int[], '{}'::int[], '{{1,2},{3,4}}'::int[], '[2:3]={7,8}'::int[], null::int[]",
  `select array['a', 'b "q"', 'c\\d', 'e,f', '', 'NULL', null, ' g ', '{}', E'h\\ni']`,
  `select array[true, null], array['2024-01-01'::date], array['\\x00'::bytea]`,
  `select array['{"a":1}'::jsonb, 'null']`,
  "select array[1.5::numeric, 'NaN'], array['infinity'::float8], array[interval '1 day']",
  "select array['a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11'::uuid]",
  "select '[1,5)'::int4range, 'empty'::int4range, '(,)'::numrange, '[2024-01-01,2024-02-01)'::daterange",
  `select '["2024-01-01 00:00","infinity")'::tsrange, '[1.5,2.5]'::span, int8range(1, null)`,
  "select '{[1,3), [5,7)}'::int4multirange, '{}'::nummultirange, array['[1,2)'::int4range]",
  "select 'fine'::mood, 'bad, \"very\"'::mood, array['s\u00f6 so'::mood, null]",
  `select (1, 'x, "y"')::pair, (null, null)::pair, array[(1, 'a')::pair], row(1, null, 'z')`,
  'select 4::even, array[2::even], null::even',
  "select '(1,2)'::point, '{1,2,3}'::line, '[(0,0),(1,1)]'::lseg, '(2,2),(1,1)'::box, '((0,0),(1,1))'::path",
  "select '((0,0),(1,0),(1,1))'::polygon, '<(1,2),3>'::circle, '(Infinity,-Infinity)'::point",
  "select '192.168.0.1'::inet, '10.0.0.0/8'::cidr, '::1'::inet, 'fe80::1/64'::inet",
  "select '08:00:2b:01:02:03'::macaddr, '08:00:2b:01:02:03:04:05'::macaddr8",
  "select b'1010'::bit(4), b'101'::varbit, b''::varbit",
  "select 'a fat cat:3A'::tsvector, 'fat & (rat | !cat:*)'::tsquery",
  "select '$1,234.56'::money, '-$0.01'::money",
  "select '<a>1</a>'::xml",
  "select 1::oid, 'pg_class'::regclass, 'int4'::regtype, 'now'::regproc",
  "select '16/B374D848'::pg_lsn, '10:20:10,15'::txid_snapshot",
  "select '(0,1)'::tid, '1'::xid, '1'::cid, '1 2'::int2vector, '1 2'::oidvector",
]

const RESULTS: readonly string[] = [
  'select',
  'select from generate_series(1, 3)',
  'table none',
  'select * from goods where false',
  'select 1 as a, 2 as a, 3 as "A", 4 as" ", 5 as "a ""quoted"" name"',
  'select 1, 2, 3',
  'select * from goods order by id',
  'select goods from goods order by id',
  'select * from cheap',
  'select g.id, p.n, p.ctid from goods g left join parts p on p.good = g.id order by g.id',
  'select nothing()',
  "select shout('quiet'), current_setting('server_version_num') is not null",
  'values (1, null), (null, 2)',
  'select generate_series(1, 500) as n',
  `select ${Array.from({ length: 300 }, (_, i) => `${i} as c${i}`).join(', ')}`,
  "select repeat('long ', 20000)",
  '',
  '  -- nothing but a comment',
  'explain (costs off) select * from goods where id = 1',
  'show standard_conforming_strings',
]

const CHANGES: readonly string[] = [
  "insert into goods (id, name) values (3, 'three'), (4, 'four') returning id, name, price",
  'update goods set price = price + 1 where id > 2',
  'update goods set price = 9 where id = 3 returning *',
  "insert into goods values (3, 'x') on conflict (id) do update set name = excluded.name returning name",
  "merge into goods g using (values (4)) as v on g.id = v.column1 when matched then update set name = 'm'",
  'with gone as (delete from goods where id = 3 returning id) select * from gone',
  'delete from goods where id > 2',
  'delete from goods where false',
  'create table fresh (id serial primary key, body text)',
  'create index on fresh (body)',
  'alter table fresh add column n int default 7',
  "comment on table fresh is 'new'",
  'insert into fresh (body) select i::text from generate_series(1, 10) as i',
  'create table copied as select * from fresh',
  'select * into another from fresh limit 3',
  'truncate fresh',
  'analyze fresh',
  'vacuum fresh',
  'drop table fresh, copied, another',
  'drop table if exists never_was',
  'do $$ begin perform 1; end $$',
  'set application_name = default',
  'notify nobody',
  'checkpoint',
]

const ERRORS: readonly string[] = [
  'select 1/0',
  'selec 1',
  'lock table goods in access share mode',
  'select 1 from nowhere',
  'select nothing_at_all from goods',
  "select 'x'::int",
  "insert into goods (id, name) values (1, 'again')",
  'insert into goods (id, name) values (5, null)',
  "insert into goods (id, name, price) values (5, 'x', -1)",
  'insert into parts values (77, 1)',
  'delete from goods where id = 1',
  'select 3::even',
  'select loud()',
  "do $$ begin raise exception 'told' using detail = 'd', hint = 'h', errcode = 'P0042', table = 't'; end $$",
  'drop table goods',
  'select * from goods, goods',
  'select 100000000000::int4',
  "select '2024-02-30'::date",
  "select '{1,2'::int[]",
  "select 'a'::mood",
  `select ${'('.repeat(100)}1${')'.repeat(99)}`,
]

/** All of them, in the order in which they must run. */
export const EVERY_TYPE: readonly string[] = [...VALUES, ...RESULTS, ...CHANGES, ...ERRORS]

/** Statements with parameters, all text. */
export const WITH_PARAMETERS: readonly (readonly [sql: string, values: readonly (string | null)[]])[] = [
  ['select $1', ['a text without a type']],
  ['select $1::int + 1, $2::text, $3::numeric * 2', ['41', null, '1.10']],
  ['select $1::int[], $2::jsonb, $3::timestamptz', ['{1,NULL}', '{"a": 1}', '2024-01-01 00:00:00+00']],
  ['select $1::bytea, length($1::bytea)', ['\\x00ff']],
  ['select * from goods where name = $1', ['two']],
  ['insert into goods (id, name) values ($1, $2) returning *', ['9', 'nine']],
  ['delete from goods where id = any($1)', ['{9}']],
  ['select $1::int', ['x']],
  ['select $1::int, $2', ['1']],
  ['select 1', ['too many']],
  ['select 1; select $1::int', ['1']],
]
