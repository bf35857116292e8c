// Patterns: that no text makes one slow, and what is refused. What they match is held against Postgres in
// test/integration/hba-files.test.ts.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { compileRegex, type Regex, regexFits } from '../../../src/util/regex.ts'

function compiled(source: string): Regex {
  const regex = compileRegex(source)
  assert.ok(!(regex instanceof Error), String(regex))
  return regex
}

test('a pattern that others take ages for takes no time', () => {
  const started = performance.now()
  for (const source of ['^(a+)+$', '^(a|aa)+$', '^(a*)*b$', '(.*)*(.*)*c$'])
    assert.equal(regexFits(compiled(source), `${'a'.repeat(5000)}!`), false, source)
  assert.ok(performance.now() - started < 2000)
})

test('nothing that is repeated by repetitions is compiled as fast', () => {
  // 255 * 255 * 255 * 255 times nothing.
  const { steps } = compiled('(?:(?:(?:(?:){255}){255}){255}){255}')
  assert.equal(steps.length, 1)
  assert.equal(regexFits(compiled('^(?:(?:){3}a){2}$'), 'aa'), true)
})

test('nothing matches the empty pattern but everything', () => {
  for (const text of ['', 'a', '\n']) assert.equal(regexFits(compiled(''), text), true)
})

test('^ and $ are the ends of the text, not of a line in it', () => {
  assert.equal(regexFits(compiled('^b$'), 'a\nb'), false)
  assert.equal(regexFits(compiled('a.b'), 'a\nb'), true)
})

for (const source of [
  '(?!a)',
  '(?i)a',
  '(a)\\1',
  '\\x41',
  '[[.a.]]',
  '[[:<:]]a',
  '((((a{255}){255}))))',
  '('.repeat(99),
]) {
  test(`refused: ${source.slice(0, 20)}`, () => {
    assert.ok(compileRegex(source) instanceof Error)
  })
}
