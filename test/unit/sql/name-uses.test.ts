// Names of prepared statements in a text: order, bytes, places.
import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { SAFE, STANDARD, UTF8 } from '../../../src/sql/lexer.ts'
import { nameUses } from '../../../src/sql/name-uses.ts'
import { readTree } from '../../../src/sql/read-tree.ts'
import { openGrammar } from '../../support/grammar.ts'

const grammar = await openGrammar()

function usesOf(text: Buffer, flags: number) {
  const tree = grammar.parse(text, flags)
  assert.ok(tree !== null && tree !== 'unread')
  return nameUses(text, flags, readTree(tree))
}

const inUtf8 = (text: string) => usesOf(Buffer.from(text), UTF8 | STANDARD)

describe('names of prepared statements', () => {
  it('come in their order, as the text uses them', () => {
    const uses = inUtf8('deallocate a; prepare A as select 1; explain execute "A"; deallocate all; select 1')
    assert.deepEqual(
      uses.map(({ how, name }) => [how, name]),
      [
        ['deallocate', 'a'],
        ['prepare', 'a'],
        ['execute', 'A'],
        ['deallocate', null],
      ],
    )
    assert.equal(inUtf8("select 'execute a'").length, 0)
  })

  it('are the bytes that a message of the protocol would have', () => {
    assert.equal(inUtf8('execute "é"')[0]?.name, Buffer.from('é').toString('latin1'))
    const latin1 = usesOf(Buffer.from('execute "é"', 'latin1'), SAFE | STANDARD)
    assert.equal(latin1[0]?.name, 'é')
  })

  it('of PREPARE have a place, where the bytes tell it', () => {
    const part = (text: string): string[] =>
      inUtf8(text).map(({ place }) =>
        place === null ? 'none' : Buffer.from(text).toString('utf8', ...place),
      )
    assert.deepEqual(part('/* é */ prepare a as select 1;'), ['/* é */ prepare a as select 1;'])
    assert.deepEqual(part("select 'é'; prepare a as select 1 ; prepare b as values ('é')"), [
      'prepare a as select 1 ',
      "prepare b as values ('é')",
    ])
    const latin1 = Buffer.from("select 'é'; prepare a as select 1", 'latin1')
    assert.equal(usesOf(latin1, SAFE | STANDARD)[0]?.place, null)
  })
})
