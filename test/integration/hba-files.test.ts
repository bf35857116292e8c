// pg_hba.conf and pg_ident.conf: what Postgres finds wrong with a line we find wrong too, and the other way
// round but for a list of differences; and patterns match what they match there. Must never ask more of
// Postgres than to read a file.
import assert from 'node:assert/strict'
import { suite, test } from 'node:test'
import { readAuthFile } from '../../src/config/auth-file.ts'
import { parseHbaLine } from '../../src/config/hba-file.ts'
import { parseIdentLine } from '../../src/config/ident-file.ts'
import { compileRegex, regexFits, regexGroup } from '../../src/util/regex.ts'
import { getPostgres, notRun } from '../support/postgres.ts'
import { Prng } from '../support/prng.ts'
import { useTls, writeDataFile } from '../support/server-files.ts'

const SEED = Number(process.env.SEED ?? Math.floor(Math.random() * 2 ** 31))
const postgres = await getPostgres()
const canRead = postgres.kind === 'embedded' && postgres.major >= 16
if (canRead) await useTls(postgres)

/** What we refuse and Postgres takes, by our words for it. */
const DIFFERENCES: readonly [string, RegExp][] = [
  ['methods that need somebody else', /is not possible here/],
  ['members of roles', /does not know the members of roles/],
  ['host names, and addresses of less than four numbers', /is not an IP address; host names/],
  ['masks of less than four numbers', /invalid IP mask/],
  ['patterns that take time, or look around', /cannot be used here|too complex|too deep/],
  ['groups that Postgres may cut otherwise', /is not plain enough/],
  ['groups that there are none of: Postgres tells at the login', /has no subexpressions/],
]
/** What Postgres complains of and reads nevertheless. */
const WARNINGS = /record cannot match because/

interface Verdicts {
  readonly ours: Map<number, string>
  readonly theirs: Map<number, string>
}

async function compare(view: string, file: string, lines: readonly string[]): Promise<Verdicts> {
  const text = `${lines.join('\n')}\n`
  await writeDataFile(postgres, file, text)
  // A line with a wrong value for clientcert has neither an error there nor anything else.
  const wrong = view === 'pg_hba_file_rules' ? 'error is not null or type is null' : 'error is not null'
  const rows = await postgres.admin(`select line_number, error from ${view} where ${wrong}`)
  const theirs = new Map(rows.map((row) => [Number(row.line_number), String(row.error)]))
  const missing = { error: 'there is no such file', isMissing: true }
  const read = readAuthFile(file, {
    text: (name) => (name === file ? { value: text } : missing),
    list: () => missing,
    beside: (_outer, name) => name,
  })
  const ours = new Map<number, string>()
  const note = (problem: string): void => {
    const [, line, words] = /^[^:]*:(\d+): (.*)$/s.exec(problem) ?? []
    ours.set(Number(line), words ?? '')
  }
  for (const problem of read.problems) note(problem)
  for (const line of read.lines) {
    const parsed = file === 'pg_hba.conf' ? parseHbaLine(line) : parseIdentLine(line)
    if (parsed !== null && 'error' in parsed) note(`${line.place}: ${parsed.error}`)
  }
  return { ours, theirs }
}

/** @returns how many of both kinds there were */
function agree(lines: readonly string[], { ours, theirs }: Verdicts): { wrong: number; different: number } {
  let wrong = 0
  let different = 0
  for (const [i, line] of lines.entries()) {
    const [our, their] = [ours.get(i + 1), theirs.get(i + 1)]
    const isError = their !== undefined && !WARNINGS.test(their)
    if (isError) wrong++
    if ((our !== undefined) === isError) continue
    const difference = our === undefined ? undefined : DIFFERENCES.find(([, words]) => words.test(our))
    assert.ok(difference, `SEED=${SEED} ${JSON.stringify(line)}: we: ${our}; Postgres: ${their}`)
    different++
  }
  return { wrong, different }
}

/** Items with `;;` or the end of a line between them, and some that cannot be written so. */
function list(text: string, ...others: string[]): string[] {
  return [...text.trim().split(/\s*(?:;;|\n)\s*/), ...others]
}

const TYPES = list(`
  host ;; host ;; hostssl ;; hostnossl ;; local ;; hostnogssenc ;; "host" ;; hosts ;; host,local
  HOST
`)
const NAMES = list(String.raw`
  all ;; a ;; "a b" ;; sameuser ;; samerole ;; +staff ;; "+staff" ;; a,b ;; a, b ;; ,a ;; /^a$
  "/a,b" ;; /( ;; /[ ;; /a** ;; /a{2,1} ;; /a{1,300} ;; /\ ;; /[[:alpha:]] ;; /[[:foo:]] ;; /[b-a]
  /(?=a) ;; /a| ;; /x{ ;; /x{a ;; /) ;; /* ;; /^* ;; /(a)\1 ;; /\d+\M ;; /\q ;; /[\w-z] ;; /[]a]
  @nofile ;; "@a" ;; "" ;; "a""b" ;; a"b ;; replication ;; büro ;; @ ;; / ;; /[a ;; /[a- ;; /a{,3}
  /$* ;; /\m* ;; /a|*b ;; /(|a)
`)
const PLACES = list(`
  all ;; samehost ;; samenet ;; 10.0.0.0/8 ;; 10.0.0.0/33 ;; 10.0.0.0/ ;; 10.0.0.0/-1 ;; 10.0.0.0/8x
  ::1/128 ;; ::1/129 ;; ::/0 ;; fe80::1/10 ;; 10.0.0.1 ;; 10.0.0.1 255.255.255.255 ;; 10.0.0.1 ::1
  ::1 ffff:: ;; "all" ;; 10.0.0.1 255.0.0 ;; db.example.com ;; .example.com ;; example.com/8
  10.0.0.0/8,10.1.0.0/8 ;; 10.0.0.256/8 ;; 1:2:3:4:5:6:7:8/1 ;; 1:2:3:4:5:6:7::/1 ;; ::ffff:1.2.3.4/96
  :::/1 ;; 1::2::3/4 ;; 10.0.0.0/+8 ;; 10/8 ;; "" ;; 10.0.0.1 nonsense ;; 10.0.0.1/8 255.0.0.0
  "10.0.0.0/ 8"
`)
const METHODS = list(
  `
  trust ;; reject ;; password ;; md5 ;; scram-sha-256 ;; cert ;; peer ;; ident ;; gss
  ldap ldapserver=x ;; sha1 ;; trust,md5 ;; "trust" ;; pam ;; TRUST ;; radius ;; bsd
`,
  '',
)
const OPTIONS = list(
  `
  map=m ;; clientcert=verify-ca ;; clientcert=verify-full ;; clientcert=no-verify ;; clientcert=1
  clientname=CN ;; clientname=DN ;; clientname=SAN ;; nonsense ;; foo=bar ;; map=a,map=b
  pamservice=x ;; krb_realm=x ;; "map=a b" ;; map ;; # a comment ;; ldapserver=x ;; map= clientname=CN
  = ;; include_realm=1
`,
  '',
  '',
  '',
)

/** A line that is right, with another value in one or two of its fields. */
function randomHbaLine(prng: Prng): string {
  const fields = ['hostssl', 'all', 'all', '10.0.0.0/8', prng.pick(['scram-sha-256', 'cert', 'trust']), '']
  const others = [TYPES, NAMES, NAMES, PLACES, METHODS, OPTIONS]
  for (let i = prng.between(1, 2); i > 0; i--) {
    const at = prng.below(fields.length)
    fields[at] = prng.pick(others[at] ?? [])
  }
  if (fields[0] === 'local' && prng.chance(0.7)) fields.splice(3, 1)
  if (prng.chance(0.05)) fields.splice(prng.below(fields.length), 1)
  return fields.join(prng.pick([' ', '\t', '  ']))
}

const IDENT_LINES = list(
  String.raw`
  m a b ;; m a ;; m ;; m a b c ;; m,n a b ;; m a,b c ;; m a b,c ;; m a +staff ;; m a "+staff"
  m "a b" all ;; m /^(.*)@x$ \1 ;; m /^.*$ \1 ;; m /(.*) \1 ;; m /^(a|b)$ \1 ;; m /( a ;; m a /(
  m a /^b ;; m /^a /^b ;; m "/^(.*)$" "\1x" ;; # m ;; m a # b ;; @nofile a b ;; m /^(a*?)$ \1
  m /^(a)*$ \1 ;; m all all
`,
  '',
)

suite('lines', () => {
  test(`pg_hba.conf: 1,500 random lines (SEED=${SEED})`, async (t) => {
    if (!canRead) return notRun(t, postgres.missing || 'needs Postgres 16')
    const prng = new Prng(SEED)
    const lines = Array.from({ length: 1500 }, () => randomHbaLine(prng))
    const verdicts = await compare('pg_hba_file_rules', 'pg_hba.conf', lines)
    const { wrong, different } = agree(lines, verdicts)
    assert.ok(wrong > 400 && wrong < 1100, `${wrong} wrong lines`)
    assert.ok(different > 50 && different < 500, `${different} differences`)
  })

  test('pg_hba.conf: continued lines, and lines that other lines end', async (t) => {
    if (!canRead) return notRun(t, postgres.missing || 'needs Postgres 16')
    const texts = [
      'host all all \\\n127.0.0.1/32 trust\nnonsense',
      'host all all 127.0.0.1/32 trust # \\\n still a comment\nnonsense',
      'host all "all \\\n" 127.0.0.1/32 trust\nnonsense',
      'host all all 127.0.0.1/32 \\\\\n\nnonsense',
      '\\\n\\\n\nnonsense\\\n\\',
      'host all all 127.0.0.1/32 trust\r\nnonsense\r',
      'host "all all 127.0.0.1/32 trust\nnonsense',
    ]
    for (const text of texts) {
      const { ours, theirs } = await compare('pg_hba_file_rules', 'pg_hba.conf', text.split('\n'))
      assert.deepEqual([...ours.keys()].sort(), [...theirs.keys()].sort(), JSON.stringify(text))
      assert.ok(theirs.size > 0)
    }
  })

  test('pg_ident.conf', async (t) => {
    if (!canRead) return notRun(t, postgres.missing || 'needs Postgres 16')
    const verdicts = await compare('pg_ident_file_mappings', 'pg_ident.conf', IDENT_LINES)
    const { wrong, different } = agree(IDENT_LINES, verdicts)
    assert.deepEqual({ wrong, different }, { wrong: 9, different: 6 })
  })
})

const ATOMS = list(String.raw`
  a ;; b ;; . ;; (a) ;; (b|a) ;; (?:ab) ;; [ab] ;; [^a] ;; [[:alpha:]] ;; \w ;; \W ;; \d ;; [a-c_]
  (a*) ;; (.*) ;; (.+)b ;; \. ;; (|a) ;; []a-] ;; \y ;; \m ;; \M ;; \Y ;; ^ ;; $ ;; \A ;; \Z ;; {
  (ab?)
`)
/** Patterns of these have a group that is the same everywhere. */
const PLAIN = list(`
  (a*) ;; (.*) ;; (.+) ;; (a) ;; (ab) ;; (.{1,2}) ;; (a?) ;; a ;; b* ;; .? ;; [ab]+ ;; .{2} ;; a*
  .*
`)
const QUANTIFIERS = ['', '', '', '', '*', '+', '?', '{2}', '{1,2}', '{0,}', '*?', '+?', '{2,1}', '{0}']

suite('patterns', () => {
  test(`4,000 random patterns match what they match in Postgres (SEED=${SEED})`, async (t) => {
    if (postgres.major < 14) return notRun(t, 'needs Postgres 14 for \\W in brackets')
    const prng = new Prng(SEED)
    const cases = Array.from({ length: 4000 }, () => {
      const isPlain = prng.chance(0.3)
      const atom = () => (isPlain ? prng.pick(PLAIN) : prng.pick(ATOMS) + prng.pick(QUANTIFIERS))
      const middle = Array.from({ length: prng.between(0, 4) }, atom)
      const isWhole = isPlain || prng.chance(0.3)
      const pattern = isWhole ? `^${middle.join('')}$` : middle.join(prng.pick(['', '', '|']))
      const text = Array.from({ length: prng.below(7) }, () => prng.pick([...'aaab_c. 1'])).join('')
      return { pattern, text }
    })
    await postgres.admin(
      `create function matched(pattern text, subject text) returns text language plpgsql as $$ begin
        return case when subject collate "C" ~ pattern
          then 'yes ' || coalesce((regexp_match(subject collate "C", '(?:' || pattern || ')'))[1], '')
          else 'no' end;
      exception when others then return 'error'; end $$`,
    )
    const rows = await postgres.admin(
      `select matched(p, s) as said
        from unnest($1::text[], $2::text[]) with ordinality as c(p, s, n) order by n`,
      [cases.map(({ pattern }) => pattern), cases.map(({ text }) => text)],
    )
    const seen = { yes: 0, no: 0, error: 0, group: 0 }
    for (const [i, { pattern, text }] of cases.entries()) {
      const said = String(rows[i]?.said)
      const compiled = compileRegex(pattern)
      const where = `SEED=${SEED} /${pattern}/ on "${text}"`
      if (compiled instanceof Error) {
        assert.equal(said, 'error', `${where}: ${compiled.message}`)
        seen.error++
        continue
      }
      const fits = regexFits(compiled, text)
      assert.equal(fits ? 'yes' : 'no', said.split(' ', 1)[0], where)
      seen[fits ? 'yes' : 'no']++
      if (!fits || !compiled.hasSafeGroup) continue
      assert.equal(regexGroup(compiled, text)?.group, said.slice(4), where)
      seen.group++
    }
    assert.ok(Math.min(...Object.values(seen)) > 50, JSON.stringify(seen))
  })
})
