// docs/hazards.md keeps its word: each row names tests that exist, or says what is missing, and no row is
// left out. Must never judge whether a test shows what it is named for: readers do.
import assert from 'node:assert/strict'
import { existsSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, it } from 'node:test'
import { ROOT } from '../support/source-files.ts'

const PAGE = 'docs/hazards.md'
/** Rows of each part, by the letter of their numbers. */
const HAZARDS = { A: 22, B: 23, C: 10, D: 13, E: 21, F: 16, H: 8, J: 18, K: 8, L: 8 }
const FAULTS = 35
const NOT_YET = /\bNot yet\b.*:/
/** A file, and words up to the next file or to a remark. */
const REFERENCE = /`(test\/[^`]+\.test\.ts)` › (.+?)(?=; (?:[^`;]*: )?`test\/|\. [A-Z0-9`]| \(with |\.?$)/g

interface Row {
  id: string
  shown: string
}

const page = readFileSync(join(ROOT, PAGE), 'utf8')
const rows: Row[] = page.split('\n').flatMap((line) => {
  const cells = line.split('|').map((cell) => cell.trim())
  const [, id = ''] = cells
  return /^[A-Z]\d+$/.test(id) ? [{ id, shown: cells.slice(2, -1).join(' | ') }] : []
})

/** The string literals of a test file, as they stand there. */
const literals = new Map<string, string[]>()
function literalsOf(file: string): string[] {
  const known = literals.get(file)
  if (known !== undefined) return known
  const source = readFileSync(join(ROOT, file), 'utf8')
  const found = Array.from(source.matchAll(/'(?:[^'\\\n]|\\.)*'|"[^"\n]*"|`[^`]*`/g), ([text]) => text)
  literals.set(file, found)
  return found
}

describe(PAGE, () => {
  it('has a row for each hazard and each fault, in their order', () => {
    const hazards = Object.entries(HAZARDS).flatMap(([letter, count]) =>
      Array.from({ length: count }, (_, index) => `${letter}${String(index + 1).padStart(2, '0')}`),
    )
    const faults = Array.from({ length: FAULTS }, (_, index) => `F${index + 1}`)
    const isFault = (id: string) => /^F[1-9]\d?$/.test(id)
    // F10 and later are numbers of both: a fault stands behind all hazards.
    const first = rows.findIndex(({ id }) => id === 'F1')
    assert.deepEqual(
      rows.slice(0, first).map(({ id }) => id),
      hazards,
    )
    const ids = rows.slice(first).map(({ id }) => id)
    assert.ok(ids.every(isFault))
    assert.deepEqual(ids, faults)
  })

  it('shows each with a test, or says what is missing', () => {
    const bare = rows.filter(({ shown }) => !shown.includes('`test/') && !NOT_YET.test(shown))
    assert.deepEqual(
      bare.map(({ id }) => id),
      [],
    )
  })

  it('names tests that exist', () => {
    const wrong: string[] = []
    let count = 0
    for (const { id, shown } of rows) {
      const named = [...shown.matchAll(/`test\/[^`]+\.test\.ts`/g)]
      const references = [...shown.matchAll(REFERENCE)]
      if (references.length < named.length) wrong.push(`${id}: a file without the title of a test`)
      for (const [, file = '', title = ''] of references) {
        count++
        if (!existsSync(join(ROOT, file))) wrong.push(`${id}: ${file} does not exist`)
        // Apostrophes are escaped in some literals.
        else if (!literalsOf(file).some((text) => text.replaceAll("\\'", "'").includes(title)))
          wrong.push(`${id}: ${file} has no "${title}"`)
      }
    }
    assert.deepEqual(wrong, [])
    assert.ok(count > rows.length, `${count} references`)
  })
})
