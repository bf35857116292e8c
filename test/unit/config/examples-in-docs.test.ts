// The configurations that the pages show, as somebody would who copies them: each is taken. Must never judge
// what they do.
import assert from 'node:assert/strict'
import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, describe, it } from 'node:test'
import { ConfigError, loadConfig } from '../../../src/config/load.ts'
import { ROOT } from '../../support/source-files.ts'

const folder = mkdtempSync(join(tmpdir(), 'pgmux-pages-'))
after(() => rmSync(folder, { recursive: true }))

const pages = readdirSync(join(ROOT, 'docs'))
  .filter((name) => name.endsWith('.md'))
  .map((name) => join('docs', name))
const found = ['README.md', ...pages].flatMap((page) =>
  Array.from(
    readFileSync(join(ROOT, page), 'utf8').matchAll(/^```yaml\n([^`]+)^```$/gm),
    ([, text = '']) => ({
      page,
      text,
    }),
  ),
)

/** What is wrong with it, but for the files that only its readers have. */
function problemsOf(text: string): string[] {
  const file = join(folder, 'config.yaml')
  writeFileSync(file, text)
  try {
    loadConfig({ file, env: {}, flags: {}, terminal: false })
    return []
  } catch (thrown) {
    assert.ok(thrown instanceof ConfigError, String(thrown))
    return thrown.problems.filter((problem) => !problem.includes('there is no such file'))
  }
}

describe('configurations in the pages', () => {
  for (const { page, text } of found)
    it(`${page}: ${text.split('\n').slice(0, 2).join(' ')}`, () => assert.deepEqual(problemsOf(text), []))

  it('are looked at', () => {
    assert.ok(found.length >= 4, `${found.length} found`)
    assert.match(
      String(problemsOf('upstream: { url: "postgres://u@h/d", password_file: p }')),
      /stands beside/,
    )
  })
})
