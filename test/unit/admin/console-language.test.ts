// The words of the console: what is a statement, which command is meant, what is said where none is.
import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import fc from 'fast-check'
import { readStatements } from '../../../src/admin/console/lexer.ts'
import { resolveAll, resolveOne } from '../../../src/admin/console/resolve.ts'
import { ConsoleError } from '../../../src/admin/console/types.ts'

function errorOf(text: string): ConsoleError {
  try {
    resolveAll(text)
  } catch (error) {
    assert.ok(error instanceof ConsoleError, String(error))
    return error
  }
  return assert.fail(`${text} is a command`)
}

function meant(text: string): string[] {
  return resolveAll(text).map(({ command, argument }) => `${command?.name ?? ''}(${argument})`)
}

describe('words', () => {
  it('are taken apart at white space, signs, quotes and comments', () => {
    const text = `PAUSE "a ""b""; c" /* ; */;set x='it''s;' -- ;\n;`
    assert.deepEqual(
      readStatements(text).map((tokens) => tokens.map((token) => token.text)),
      [
        ['PAUSE', 'a "b"; c'],
        ['set', 'x', '=', "it's;"],
      ],
    )
    for (const open of ['"a', "'a", '/* a']) assert.throws(() => readStatements(open), /unterminated/)
  })

  it('of any text end in statements or in one clear error', () => {
    fc.assert(
      fc.property(fc.string({ unit: 'binary', maxLength: 60 }), (text) => {
        try {
          assert.ok(resolveAll(text).length > 0)
        } catch (error) {
          assert.ok(error instanceof ConsoleError, String(error))
        }
      }),
      { numRuns: 500 },
    )
  })
})

describe('commands', () => {
  it('have their arguments, in any case, with or without a semicolon', () => {
    assert.deepEqual(meant('show pools'), ['SHOW POOLS()'])
    assert.deepEqual(meant('SELECT Version;'), ['SHOW VERSION()'])
    assert.deepEqual(meant('pause; Pause app ; kill_client 0x1f'), [
      'PAUSE()',
      'PAUSE(app)',
      'KILL_CLIENT(0x1f)',
    ])
    assert.deepEqual(meant('PAUSE "My App"'), ['PAUSE(My App)'])
    assert.deepEqual(meant('shutdown wait_for_clients'), ['SHUTDOWN(wait_for_clients)'])
    assert.deepEqual(meant(''), ['()'])
    assert.deepEqual(meant(' ; ;'), ['()'])
    assert.deepEqual(meant(';show state;;'), ['SHOW STATE()'])
    assert.throws(() => resolveOne('show state; show pools'), /multiple commands/)
  })

  it('SET has an option and a value; settings of clients stay what drivers say', () => {
    assert.deepEqual(meant("SET Pool.Size = 3; set pool_size to '3'"), [
      'SET(pool.size=3)',
      'SET(pool_size=3)',
    ])
    assert.deepEqual(meant('set x = DEFAULT'), ['SET(x=\0default)'])
    assert.equal(resolveAll('SET pool_size = 3')[0]?.command?.role, 'admin')
    assert.equal(resolveAll("SET application_name = 'x'")[0]?.command?.role, 'stats')
    for (const wrong of ['SET', 'SET x', 'SET x =', 'SET x 5', 'SET x = 1, 2', 'SET x = 1 2'])
      assert.match(errorOf(wrong).hint, /^Usage: SET option = value/, wrong)
  })

  it('that are none get the words of PgBouncer, the nearest name and the list', () => {
    const error = errorOf('SHOW CLIENS')
    assert.equal(error.code, '42601')
    assert.equal(error.message, "invalid command 'SHOW CLIENS', use SHOW HELP;")
    assert.match(error.hint, /Did you mean SHOW CLIENTS\?.*It knows: SHOW HELP\|.*, RELOAD, /)
    assert.match(errorOf('paus').hint, /Did you mean PAUSE\?/)
    assert.match(errorOf('SELECT * FROM users').message, /invalid command/)
    assert.ok(errorOf(`SHOW ${'x'.repeat(1000)}`).message.length < 200)
  })

  it('with too many or too few arguments say how they are used', () => {
    assert.equal(errorOf('SHOW POOLS app').code, '42601')
    assert.match(errorOf('PAUSE a b').hint, /^Usage: PAUSE \[the name of a database\]$/)
    assert.match(errorOf('DISABLE').message, /needs the name of a database/)
    assert.match(errorOf('SHUTDOWN NOW').hint, /WAIT_FOR_SERVERS \| WAIT_FOR_CLIENTS/)
  })

  it('that pgmux does not have are refused with what to do instead', () => {
    for (const text of ['SHOW FDS']) {
      const error = errorOf(text)
      assert.equal(error.code, '0A000', text)
      assert.notEqual(error.hint, '', text)
    }
  })
})

describe('what drivers say unasked', () => {
  it('is taken', () => {
    const texts = [
      'BEGIN',
      'BEGIN ISOLATION LEVEL READ COMMITTED',
      'START TRANSACTION READ ONLY',
      'COMMIT',
      'end',
      'ROLLBACK',
      'ABORT WORK',
      'SET extra_float_digits = 3',
      "SET application_name = 'PostgreSQL JDBC Driver'",
      "SET client_encoding TO 'UTF8'",
      'SET SESSION CHARACTERISTICS AS TRANSACTION READ WRITE',
      "SET datestyle TO 'ISO'",
      "SET TIME ZONE 'UTC'",
      'RESET ALL',
      'DISCARD ALL',
      'UNLISTEN *',
      'CLOSE ALL',
      'SELECT 1',
      'show transaction_isolation',
    ]
    for (const text of texts) assert.equal(resolveAll(text).length, 1, text)
  })

  it('does not open a way around: savepoints, prepared transactions, other SELECTs', () => {
    for (const text of ['ROLLBACK TO a', "COMMIT PREPARED 'x'", 'SELECT 1, 2', 'SELECT now()', 'START'])
      assert.equal(errorOf(text).code, '42601', text)
  })
})
