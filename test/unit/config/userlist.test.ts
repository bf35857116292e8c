// The userlist.txt of PgBouncer: what is read, and that errors name lines but no secrets.

import assert from 'node:assert/strict'
import { it } from 'node:test'
import { parseUserList } from '../../../src/config/userlist.ts'

it('reads users, comments, doubled quotes and line ends of both kinds', () => {
  const text =
    '\uFEFF; a comment\r\n\r\n"alice" "secret"\r\n# another\n  "b""ob"  "md5""x"\n"carol" "" ' +
    'ignored\n"d" "a;b#c"'
  const { users, problems } = parseUserList(text)
  assert.deepEqual(problems, [])
  assert.deepEqual(
    [...users],
    [
      ['alice', 'secret'],
      ['b"ob', 'md5"x'],
      ['carol', ''],
      ['d', 'a;b#c'],
    ],
  )
})

it('names the lines that it cannot read, and keeps the rest', () => {
  const { users, problems } = parseUserList('alice secret\n"a" "1"\n"b"\n"a" "2"\n"" "x"\n"c" "hidden\n')
  assert.deepEqual([...users], [['a', '1']])
  assert.deepEqual(problems, [
    { line: 1, text: 'expects "user" "secret", both in double quotes' },
    { line: 3, text: 'expects "user" "secret", both in double quotes' },
    { line: 4, text: 'this user stands in the list twice, remove one' },
    { line: 5, text: 'the user name is empty' },
    { line: 6, text: 'expects "user" "secret", both in double quotes' },
  ])
})
