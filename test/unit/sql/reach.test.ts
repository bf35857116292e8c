// What is reached from where: links between objects, words in bodies, event triggers, limits, statements.

import assert from 'node:assert/strict'
import { before, describe, it } from 'node:test'
import fc from 'fast-check'
import { Survey } from '../../../src/sql/catalogue.ts'
import { LINKS_MAX, NAMES_MAX, ROUTINES_MAX } from '../../../src/sql/catalogue-queries.ts'
import type { Grammar } from '../../../src/sql/grammar.ts'
import { Reach } from '../../../src/sql/reach.ts'
import { Fact } from '../../../src/sql/scanner.ts'
import { factNames, mayReach, routinesOf } from '../../support/catalogue.ts'
import { judge, openGrammar } from '../../support/grammar.ts'

const SETS = { oid: 20_001, name: 'sets', source: 'begin set a.b = 1; end' }

describe('Reach', () => {
  it('carries facts along links, in any order of what it is told', () => {
    const links = fc.array(fc.tuple(fc.nat(12), fc.nat(12)), { maxLength: 30 })
    const marks = fc.array(fc.tuple(fc.nat(12), fc.nat(3)), { maxLength: 4 })
    fc.assert(
      fc.property(links, marks, fc.boolean(), (edges, sources, marksFirst) => {
        const reach = new Reach()
        const mark = () =>
          sources.forEach(([node, bit]) => {
            reach.mark(`r${node}`, 1 << bit)
          })
        if (marksFirst) mark()
        for (const [from, to] of edges) reach.link(`r${from}`, `r${to}`)
        if (!marksFirst) mark()
        reach.spread()
        // The same by walking over all links until nothing changes.
        const want = new Array<number>(13).fill(0)
        for (const [node, bit] of sources) want[node] |= 1 << bit
        for (let round = 0; round < 13; round++) for (const [from, to] of edges) want[to] |= want[from]
        assert.deepEqual(
          want.map((_, node) => reach.facts(`r${node}`)),
          want,
        )
      }),
    )
  })
})

describe('Survey', () => {
  it('marks the names of what leads to a function that touches, and nothing else', () => {
    const routines = routinesOf([SETS, { oid: 20_002, name: 'plain', source: 'begin return new; end' }], {
      names: {
        r30001: 'audited',
        r30002: 'plain_table',
        r30003: 'Some View',
        r30004: 'parent',
        t30005: 'dom',
      },
      links: [
        ['f20001', 'r30001'],
        ['f20002', 'r30002'],
        ['r30001', 'r30003'],
        ['x30001', 'x30004'],
        ['f20001', 't30005'],
      ],
    })
    assert.equal(factNames(routines.touches('audited')), 'Settings')
    assert.equal(factNames(routines.touches('SOME VIEW')), 'Settings')
    assert.equal(factNames(routines.touches('dom')), 'Settings')
    assert.equal(routines.touches('plain_table'), 0)
    assert.equal(routines.touches('parent'), 0)
    assert.ok(routines.knowsRelation('Plain_Table') && !routines.knowsRelation('plain'))
    assert.ok(routines.knows('plain') && !routines.knows('plain_table'))
    assert.equal(routines.everywhere | routines.ddl, 0)
  })

  it('follows from bodies to relations and back', () => {
    const all = [
      { oid: 20_002, name: 'logs', source: 'begin insert into log values (1); return new; end' },
      { oid: 20_003, name: 'enters', source: 'begin insert into entry values (1); end' },
      { oid: 20_004, name: 'empties', source: 'begin truncate parent cascade; end' },
      { oid: 20_005, name: 'reads', source: 'begin return query select * from other; end' },
      SETS,
    ]
    const names = { r30001: 'log', r30002: 'entry', r30003: 'parent', r30004: 'other' }
    const links = [
      ['f20001', 'r30001'],
      ['f20002', 'r30002'],
      ['f20001', 'x30002'],
      ['x30002', 'x30003'],
    ] as const
    const routines = routinesOf(all, { names, links })
    for (const name of ['log', 'logs', 'entry', 'enters', 'parent', 'empties']) {
      assert.equal(factNames(routines.touches(name)), 'Settings', name)
    }
    assert.ok(routines.isHarmless('reads'))
    assert.equal(routines.touching, 7)
  })

  it('takes what has no name for everything', () => {
    const routines = routinesOf([SETS, { oid: 20_002, name: 'plain', source: '' }], {
      links: [['f20001', 'e']],
    })
    assert.equal(factNames(routines.everywhere), 'Settings')
    assert.ok(mayReach(routines, 'select 1') && !routines.isHarmless('plain'))
  })

  it('finds event triggers in what statements and functions do', () => {
    const all = [SETS, { oid: 20_002, name: 'makes', source: 'begin create table t (i int); end' }]
    const with_ = routinesOf(all, { links: [['f20001', 'd']] })
    const without = routinesOf(all)
    assert.equal(factNames(with_.ddl), 'Settings')
    for (const text of [
      'create table t ()',
      'alter table t add x int',
      'select 1 into t',
      'select makes()',
    ]) {
      assert.ok(mayReach(with_, text), text)
      assert.ok(!mayReach(without, text), text)
    }
    for (const text of ['insert into t values (1)', 'select 1', 'analyze'])
      assert.ok(!mayReach(with_, text), text)
  })

  it('finds expressions of indexes in work on all tables', () => {
    const routines = routinesOf([SETS], { links: [['f20001', 'm']] })
    for (const text of ['analyze', 'vacuum full', 'reindex database x'])
      assert.ok(mayReach(routines, text), text)
    assert.ok(!mayReach(routines, 'create table t ()'))
  })

  it('knows what built-in functions do where no body shows them', () => {
    const names = {
      b2880: 'pg_advisory_lock',
      r12001: 'pg_settings',
      r30001: 'locking_view',
      r30002: 'my_settings',
    }
    const routines = routinesOf([], {
      names: { ...names, b2078: 'set_config' },
      links: [
        ['b2880', 'r30001'],
        ['b2078', 'r12001'],
        ['r12001', 'r30002'],
      ],
    })
    assert.equal(factNames(routines.touches('locking_view')), 'Locks')
    assert.equal(factNames(routines.touches('my_settings')), 'Settings')
    assert.equal(routines.touching, 2, 'what the scanner knows anyway is not in the table')
  })

  it('believes no row that it does not know', () => {
    const survey = new Survey()
    survey.add(['a digest'])
    survey.add([])
    assert.equal(survey.digest, 'a digest')
    assert.equal(survey.finish().everywhere, Fact.Unclear)
  })

  it('keeps the names of settings that functions may set', () => {
    const { customNames } = routinesOf([
      {
        oid: 20_001,
        name: 'a',
        source: "begin set app.Tenant = 'x'; perform set_config('app.user', 'y', false); end",
      },
      { oid: 20_002, name: 'b', source: "begin perform 'app.harmless'; end" },
    ])
    assert.deepEqual([...customNames].sort(), ['app.tenant', 'app.user'])
  })

  it('says anything may happen where there is too much to read', () => {
    const most: readonly (readonly [string, number, (survey: Survey, i: number) => void])[] = [
      ['names', NAMES_MAX, (survey, i) => survey.add(['r', String(30_000 + i), 't'])],
      ['links', LINKS_MAX, (survey) => survey.add(['r30000', 'r30001'])],
      ['routines', ROUTINES_MAX, (survey) => survey.add(['20000', 'f', 'sql', '', 'f', null])],
    ]
    for (const [what, max, add] of most) {
      for (const extra of [0, 1]) {
        const survey = new Survey()
        for (let i = 0; i < max + extra; i++) add(survey, i)
        assert.equal(survey.finish().everywhere, extra === 0 ? 0 : Fact.Unclear, what)
      }
    }
  })
})

describe('Routines: statements', () => {
  let grammar: Grammar
  before(async () => {
    grammar = await openGrammar()
  })

  it('are judged by what their verdict lists', () => {
    const routines = routinesOf([SETS, { oid: 20_002, name: 'plain', source: '' }], {
      names: { r30001: 'order', t30002: 'dom' },
      links: [
        ['f20001', 'r30001'],
        ['f20001', 't30002'],
        ['f20001', 'd'],
      ],
    })
    const reached = (text: string) => factNames(routines.reachedBy(judge(grammar, text)![0]))
    const cases: readonly (readonly [text: string, want: string])[] = [
      ['select 1 from t order by 1', ''],
      ['select 1 from "order"', 'Settings'],
      ['with a as (delete from "order" returning *) select 1 from a', 'Settings'],
      ['merge into "order" o using t on true when matched then delete', 'Settings'],
      ['copy "order" from stdin', 'Settings'],
      ['truncate a, "order"', 'Settings'],
      ["select 'x'::dom[]", 'Settings'],
      ['select t.sets from t', 'Settings'],
      ['call plain(1)', ''],
      ['call sets()', 'Settings'],
      ['call plain(sets())', 'Settings'],
      ['set search_path = "order"', ''],
      ['select 1 into x', 'Settings'],
      ['explain analyze create table x as select 1', 'Settings'],
      ['explain analyze select 1', ''],
      ['alter domain dom add check (true)', 'Unclear'],
      ['create table x ()', 'Unclear'],
      ['do $$ begin end $$', 'Unclear'],
      ['commit', ''],
    ]
    for (const [text, want] of cases) assert.equal(reached(text), want, text)
  })
})
