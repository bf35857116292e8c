// What the library refuses before it opens anything.
import assert from 'node:assert/strict'
import { it } from 'node:test'
import { ConfigError, createPooler } from '../../src/index.ts'

it('is not started without a Postgres to stand in front of', async () => {
  await assert.rejects(createPooler({ env: {} }), (error: Error) => {
    assert.ok(error instanceof ConfigError)
    assert.match(error.message, /no Postgres is configured/)
    return true
  })
})
