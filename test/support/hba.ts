// Owns: lines of pg_hba.conf as rules, for tests that need no file. Must never accept a line with a mistake.
import assert from 'node:assert/strict'
import { readAuthFile } from '../../src/config/auth-file.ts'
import { parseHbaLine } from '../../src/config/hba-file.ts'
import type { HbaRule } from '../../src/config/types.ts'

/** The rules of these lines. @throws AssertionError for a line that is none */
export function hbaRules(...lines: string[]): HbaRule[] {
  const none = { error: 'none', isMissing: true }
  const files = { text: () => ({ value: lines.join('\n') }), list: () => none, beside: () => '' }
  return readAuthFile('hba', files).lines.map((line) => {
    const rule = parseHbaLine(line)
    assert.ok(rule !== null && !('error' in rule), JSON.stringify(rule))
    return rule
  })
}
