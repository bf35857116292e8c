// Owns the proof that a test that did not run is listed at the end, with its reason.
import assert from 'node:assert/strict'
import { execFile } from 'node:child_process'
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, test } from 'node:test'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'

const folder = await mkdtemp(join(tmpdir(), 'pgmux-reporter-'))
after(() => rm(folder, { recursive: true, force: true }))

test('the report lists what did not run in front of the closing lines', async () => {
  const file = join(folder, 'some.test.mjs')
  const skipping = "test('second', (t) => { t.skip('no wish') })"
  await writeFile(file, `import { test } from 'node:test'\ntest('first', () => {})\n${skipping}\n`)
  const reporter = fileURLToPath(new URL('../../support/reporter.ts', import.meta.url))
  const { NODE_TEST_CONTEXT: _, ...env } = process.env
  const args = ['--test', `--test-reporter=${reporter}`, file]
  const { stdout } = await promisify(execFile)(process.execPath, args, { env })
  assert.match(stdout, /not run: second: no wish\n.*tests 2\n.*pass 1\n.*skipped 1\n/s)
  assert.equal(stdout.match(/not run:/g)?.length, 1)
})
