// User name maps: who may be which user. Lines are read by the parser of pg_ident.conf.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { isMapped } from '../../../src/auth/user-map.ts'
import { readAuthFile } from '../../../src/config/auth-file.ts'
import { parseIdentLine } from '../../../src/config/ident-file.ts'

const TEXT = String.raw`
# map   system                     user
exact   "Alice Smith"              alice
exact   "Alice Smith"              reporting
exact   root                       all
exact   other                      "all"
mail    /^(.*)@example\.com$       \1
mail    /^(.*)@staff\.example\.com$  "s_\1"
mail    /^admin@                   postgres
users   app                        /^app_[0-9]+$
both    /^a                        /^b
twice   /^(.)$                     \1\1
text    a\1                        \1
`
const none = { error: 'none', isMissing: true }
const lines = readAuthFile('ident', {
  text: () => ({ value: TEXT }),
  list: () => none,
  beside: () => '',
}).lines.map((line) => {
  const parsed = parseIdentLine(line)
  assert.ok(!('error' in parsed), JSON.stringify(parsed))
  return parsed
})

const CASES: [map: string, system: string, user: string, may: boolean][] = [
  ['', 'alice', 'alice', true],
  ['', 'alice', 'Alice', false],
  ['', '', 'alice', false],
  ['exact', 'Alice Smith', 'alice', true],
  ['exact', 'Alice Smith', 'reporting', true],
  ['exact', 'Alice Smith', 'bob', false],
  ['exact', 'alice smith', 'alice', false],
  ['exact', 'alice', 'alice', false],
  ['exact', 'root', 'whoever', true],
  ['exact', 'other', 'whoever', false],
  ['exact', 'other', 'all', true],
  ['none', 'alice', 'alice', false],
  ['mail', 'bob@example.com', 'bob', true],
  ['mail', 'bob@example.com', 'alice', false],
  ['mail', 'bob@example.com.evil', 'bob', false],
  ['mail', 'bob@exampleXcom', 'bob', false],
  ['mail', 'a@example.com@example.com', 'a@example.com', true],
  ['mail', 'bob\n@example.com', 'bob', false],
  ['mail', 'eve@staff.example.com', 's_eve', true],
  ['mail', 'b\u00fcro@example.com', 'b\u00fcro', true],
  ['mail', 'admin@anywhere', 'postgres', true],
  ['mail', '@example.com', '', true],
  ['mail', '$&@example.com', '$&', true],
  ['users', 'app', 'app_17', true],
  ['users', 'app', 'app_x', false],
  ['users', 'apple', 'app_17', false],
  ['both', 'ax', 'bx', true],
  ['both', 'ax', 'ax', false],
  ['twice', 'x', 'x\\1', true],
  ['twice', 'x', 'xx', false],
  ['text', 'a\\1', '\\1', true],
]

for (const [map, system, user, may] of CASES) {
  const verb = may ? 'may' : 'may not'
  test(`${map || 'no map'}: ${JSON.stringify(system)} ${verb} be ${JSON.stringify(user)}`, () => {
    assert.equal(isMapped(lines, map, system, user), may)
  })
}
