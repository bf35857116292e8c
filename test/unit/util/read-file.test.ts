// Files of a configuration that are none: each read comes to an end. What would never end if it were not for
// the code under test is tried in a process of its own, in test/integration/attacks-files.test.ts.
import assert from 'node:assert/strict'
import { mkdtempSync, rmSync, symlinkSync, truncateSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, suite, test } from 'node:test'
import { readFileNow } from '../../../src/util/read-file.ts'

const folder = mkdtempSync(join(tmpdir(), 'pgmux-read-'))
after(() => rmSync(folder, { recursive: true, force: true }))
const file = join(folder, 'file')

suite('readFileNow', () => {
  test('reads a file of any length up to the limit, through links', () => {
    const link = join(folder, 'link')
    symlinkSync(file, link)
    for (const length of [0, 1, 65_536, 65_537, 200_000]) {
      const content = Buffer.alloc(length, 'pgmux ')
      writeFileSync(file, content)
      assert.ok(readFileNow(link, 200_000).equals(content), `${length}`)
    }
    writeFileSync(file, Buffer.alloc(200_001))
    assert.throws(() => readFileNow(link, 200_000), {
      code: 'EFBIG',
      message: 'it has more than 200000 bytes',
    })
  })

  test('reads what says of itself that it is empty', () => {
    assert.match(readFileNow('/proc/self/status').toString(), /^Name:/)
    assert.equal(readFileNow('/dev/null').length, 0)
  })

  test('allocates no more than the limit for a file that says that it is huge', () => {
    writeFileSync(file, '')
    truncateSync(file, 2 ** 40)
    assert.throws(() => readFileNow(file, 1000), { code: 'EFBIG' })
  })

  test('leaves the errors of the system as they are', () => {
    assert.throws(() => readFileNow(folder), { code: 'EISDIR' })
    assert.throws(() => readFileNow(join(folder, 'nothing')), { code: 'ENOENT' })
  })
})
