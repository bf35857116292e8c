// SET in the console: which option a name means, ours or PgBouncer's, and what cannot be set.
import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { optionsMeant, SetError } from '../../../src/config/set.ts'

function refused(name: string, text: string): SetError {
  try {
    optionsMeant(name, text)
  } catch (error) {
    assert.ok(error instanceof SetError, String(error))
    return error
  }
  return assert.fail(`${name} can be set`)
}

describe('a name', () => {
  it('of ours is the option, with dots or without', () => {
    for (const name of ['pool.size', 'pool_size'])
      assert.deepEqual(optionsMeant(name, '5'), [['pool.size', '5']])
    assert.deepEqual(optionsMeant('log.level', null), [['log.level', null]])
    // Whether it is a value is asked where files are read.
    assert.deepEqual(optionsMeant('pool.size', 'many'), [['pool.size', 'many']])
  })

  it("of PgBouncer's stands for ours, with its values", () => {
    assert.deepEqual(optionsMeant('default_pool_size', '7'), [['pool.size', '7']])
    assert.deepEqual(optionsMeant('query_wait_timeout', '1.5'), [['pool.query_wait_timeout', '1500ms']])
    assert.deepEqual(optionsMeant('max_client_conn', '100'), [['client.max_connections', '100']])
    assert.deepEqual(optionsMeant('pool_mode', 'SESSION'), [['pool.mode', 'session']])
    assert.match(refused('default_pool_size', 'many').message, /"many" is no value for default_pool_size/)
  })

  it('that both have is read by its value: without a unit it is in seconds', () => {
    assert.deepEqual(optionsMeant('client_idle_timeout', '60'), [['client.idle_timeout', '60s']])
    assert.deepEqual(optionsMeant('client_idle_timeout', '250ms'), [['client.idle_timeout', '250ms']])
    assert.deepEqual(optionsMeant('client_idle_timeout', null), [['client.idle_timeout', null]])
  })

  it('that is none says which is near; secrets, and what counts from the next start, are not set', () => {
    assert.match(refused('pool.sise', '5').hint, /Did you mean pool\.size\?/)
    assert.match(refused('upstream.password', 'x').message, /is a secret/)
    assert.match(refused('listen.port', '5').message, /from the next start only/)
    assert.match(refused('listen_port', '5').message, /from the next start only/)
    assert.match(refused('so_reuseport', '1').message, /option of PgBouncer that is not set here/)
  })
})
