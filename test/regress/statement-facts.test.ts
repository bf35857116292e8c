// The scanner and the grammar over the whole of Postgres' own regression SQL: they must agree about where
// statements end and how they begin, and the scanner must have seen a word wherever the grammar finds that a
// statement matters. Every difference is listed here with its reason. The SQL is not part of the project:
// test/regress/fetch.sh brings it to a folder, which PGMUX_TEST_REGRESS names.

import assert from 'node:assert/strict'
import { existsSync, readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { before, describe, it, type TestContext } from 'node:test'
import type { Grammar } from '../../src/sql/grammar.ts'
import { STANDARD, UTF8 } from '../../src/sql/lexer.ts'
import { readTree } from '../../src/sql/read-tree.ts'
import { Fact, scanFacts, statementEnd, type Reading } from '../../src/sql/scanner.ts'
import { Act, type Statement } from '../../src/sql/verdict.ts'
import { openGrammar } from '../support/grammar.ts'
import { getPostgres, notRun } from '../support/postgres.ts'
import { type ScriptStatement, statementsOf } from '../support/psql-script.ts'
import { WireClient } from '../support/wire-client.ts'

const FOLDER = join(process.env.PGMUX_TEST_REGRESS ?? '', 'sql')
const isThere = process.env.PGMUX_TEST_REGRESS !== undefined && existsSync(FOLDER)
const MISSING = 'PGMUX_TEST_REGRESS names no folder with the regression SQL (test/regress/fetch.sh brings it)'
const GRAMMAR_MAX = 64 * 1024

/** Statements about which the two differ, by the file and how they begin, and why that is right. */
const EXPLAINED = new Map([
  [
    'create_procedure.sql: CREATE PROCEDURE ptestx()',
    'DDL in a BEGIN ATOMIC body: the grammar takes it, Postgres refuses it afterwards; Unclear is safe',
  ],
  ['prepared_xacts.sql: COMMIT PREPARED', 'Ends: it ends no transaction of its own; too much is safe'],
  ['prepared_xacts.sql: ROLLBACK PREPARED', 'the same'],
])

/** Each act of a verdict, and the facts of which the scanner must have seen one. */
const NEEDS: readonly (readonly [act: number, facts: number])[] = [
  [Act.Temp, Fact.Temp],
  [Act.Creates, Fact.Creates],
  [Act.Locks, Fact.Locks],
  [Act.Holds, Fact.Holds],
  [Act.Loads, Fact.Backend],
  [Act.Backend, Fact.Backend | Fact.Settings],
  [Act.WritesSequence | Act.ReadsSequence, Fact.Sequences],
  [Act.Runs, Fact.Runs],
  [Act.Transaction | Act.ResetsAll, Fact.Settings],
  [Act.DiscardsAll | Act.DiscardsPlans | Act.DiscardsSequences | Act.DiscardsTemp, Fact.Discards],
  [Act.Notifies | Act.Listens, Fact.Channels | Fact.Listens],
  [Act.Effects, Fact.Effects],
  [Act.Peeks, Fact.Peeks],
  [Act.Shows, Fact.Shows],
  [Act.Copies, Fact.Copies],
  [Act.Explains, Fact.Explains],
]

interface Judged extends ScriptStatement {
  readonly file: string
  readonly bytes: Buffer
  readonly reading: Reading
  readonly facts: number
  /** null: refused; undefined: not asked. */
  readonly verdict: readonly Statement[] | null | undefined
}

const all: Judged[] = []
let grammar: Grammar
const postgres = isThere ? await getPostgres() : null

function place({ file, line, text }: Judged): string {
  return `${file}:${line}: ${text.replace(/\s+/g, ' ').slice(0, 120)}`
}

function isExplained({ file, text }: Judged): boolean {
  return [...EXPLAINED.keys()].some((key) => `${file}: ${text}`.startsWith(key))
}

/** No complaint about a statement that is not explained. */
function check(complain: (statement: Judged) => string | null): void {
  const problems = all.flatMap((statement) => {
    const text = isExplained(statement) ? null : complain(statement)
    return text === null ? [] : [`${place(statement)}: ${text}`]
  })
  assert.deepEqual(problems, [])
}

function names(facts: number): string {
  return Object.entries(Fact)
    .filter(([, bit]) => (facts & bit) !== 0)
    .map(([name]) => name)
    .join(' ')
}

/** The facts that are exact, as the grammar sees them. */
function exactFacts(statement: Statement): number {
  const begins = (statement.acts & Act.Begins) !== 0 ? Fact.Begins : 0
  const ends = (statement.acts & Act.Ends) !== 0 ? Fact.Ends : 0
  const listens = statement.kind === 'ListenStmt' ? Fact.Listens : 0
  return begins | ends | listens | (statement.kind === 'PrepareStmt' ? Fact.Prepares : 0)
}

before(async () => {
  if (!isThere) return
  grammar = await openGrammar()
  for (const file of readdirSync(FOLDER).filter((name) => name.endsWith('.sql'))) {
    for (const statement of statementsOf(readFileSync(join(FOLDER, file), 'latin1'))) {
      const bytes = Buffer.from(statement.text, 'latin1')
      const reading = { flags: (statement.standard ? STANDARD : 0) | UTF8, marked: null }
      const facts = scanFacts(bytes, 0, bytes.length, reading)
      const tree = bytes.length > GRAMMAR_MAX ? 'unread' : grammar.parse(bytes, reading.flags)
      const verdict = tree === 'unread' ? undefined : tree === null ? null : readTree(tree)
      all.push({ ...statement, file, bytes, reading, facts, verdict })
    }
  }
})

/** A test that needs the SQL. */
function compare(name: string, run: (t: TestContext) => void | Promise<void>): void {
  it(name, (t) => (isThere ? run(t) : notRun(t, MISSING)))
}

describe("Postgres' regression SQL", () => {
  compare('has the statements that it should have', (t) => {
    const refused = all.filter(({ verdict }) => verdict === null).length
    const unread = all.filter(({ verdict }) => verdict === undefined).length
    t.diagnostic(`${all.length} statements, ${refused} refused by the grammar, ${unread} not asked`)
    assert.ok(all.length > 40_000 && refused < 400 && unread < 50)
  })

  compare('is counted alike', () => {
    check(({ facts, verdict }) => {
      if (verdict === undefined || verdict === null) return null
      const structure = facts & (Fact.Several | Fact.Empty | Fact.Unclear)
      return verdict.length === 1 && structure === 0 ? null : `${verdict.length}, ${names(structure)}`
    })
  })

  compare('begins alike', () => {
    const exact = Fact.Begins | Fact.Ends | Fact.Listens | Fact.Prepares
    check(({ facts, verdict }) => {
      const [statement] = verdict ?? []
      if (statement === undefined) return null
      const wanted = exactFacts(statement)
      return (facts & exact) === wanted ? null : `${names(facts & exact)}, not ${names(wanted)}`
    })
  })

  compare('has a word wherever it matters', () => {
    check(({ facts, verdict }) => {
      for (const { acts, settings, prepared } of verdict ?? []) {
        for (const [act, needed] of NEEDS) {
          if ((acts & act) !== 0 && (facts & needed) === 0) return `no ${names(needed)}`
        }
        if (settings.length > 0 && (facts & Fact.Settings) === 0) return 'no Settings'
        const used = Fact.Prepares | Fact.Executes
        if (prepared.length > 0 && (facts & used) === 0) return 'no Prepares or Executes'
        if ((acts & Act.Writes) === 0 && /Select/.test(verdict![0].kind) && (facts & Fact.Acts) !== 0) {
          return 'a query that does not begin like one'
        }
      }
      return null
    })
  })

  compare('needs the grammar rarely where it says nothing', (t) => {
    // Words that meant nothing: what they cost is a look by the grammar.
    const bits: Record<string, number> = { Temp: Fact.Temp, Holds: Fact.Holds, Executes: Fact.Executes }
    for (const [name, bit] of Object.entries(bits)) {
      const seen = all.filter(({ facts, verdict }) => verdict && (facts & bit) !== 0)
      const idle = seen.filter(({ verdict }) => {
        const act = name === 'Temp' ? Act.Temp : name === 'Holds' ? Act.Holds : 0
        return verdict!.every(
          ({ acts, prepared }) => (acts & act) === 0 && (act !== 0 || prepared.length === 0),
        )
      })
      t.diagnostic(`${name}: ${seen.length} texts, ${idle.length} of them for nothing`)
    }
  })

  compare('is cut at the same places', () => {
    const problems: string[] = []
    for (let i = 0; i < all.length; ) {
      const first = all[i]
      const run: Judged[] = []
      while (all[i]?.file === first.file && all[i].standard === first.standard) run.push(all[i++])
      const clear = run.filter(({ facts }) => (facts & Fact.Unclear) === 0)
      const text = Buffer.concat(clear.flatMap(({ bytes }) => [bytes, Buffer.from(' /* ; */ -- ; \n;')]))
      let at = 0
      for (const statement of clear) {
        const end = statementEnd(text, at, text.length, first.reading)
        at += statement.bytes.length + 16
        if (end === at) continue
        problems.push(`${place(statement)}: ends at ${end}, not ${at}`)
        break
      }
    }
    assert.deepEqual(problems, [])
  })

  compare('is cut by the grammar where we cut it', () => {
    const problems: string[] = []
    const read = all.filter(
      ({ verdict, standard, bytes }) => verdict?.length === 1 && standard && bytes.length < 8192,
    )
    for (let i = 0; i < read.length; ) {
      const window: Judged[] = []
      for (let size = 0; i < read.length && size < 16_384; i++) {
        window.push(read[i])
        size += read[i].bytes.length
      }
      const text = Buffer.concat(window.flatMap(({ bytes }) => [bytes, Buffer.from('\n;\n')]))
      const tree = grammar.parse(text, STANDARD | UTF8)
      const count = tree === null || tree === 'unread' ? 0 : readTree(tree).length
      if (count !== window.length) problems.push(`${place(window[0])}: ${count} of ${window.length}`)
    }
    assert.deepEqual(problems, [])
  })

  compare('is refused by Postgres where the grammar refuses it', async (t) => {
    const { host, port, user, password, database } = postgres!
    const client = await WireClient.connect({ host, port, user, password, database })
    const problems: string[] = []
    const codes = new Map<string, number>()
    for (const statement of all.filter(({ verdict }) => verdict === null)) {
      await client.query(`set standard_conforming_strings = ${statement.standard ? 'on' : 'off'}`)
      const { error } = await client.query(statement.text)
      if (error === null) problems.push(place(statement))
      else codes.set(error.code, (codes.get(error.code) ?? 0) + 1)
    }
    await client.end()
    t.diagnostic([...codes].map(([code, count]) => `${code}: ${count}`).join(', '))
    assert.deepEqual(problems, [])
  })
})
