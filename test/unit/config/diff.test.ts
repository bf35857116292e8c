// What a reload says has changed: names that are in the file, never a value.
import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { changesBetween } from '../../../src/config/diff.ts'
import { loadConfig } from '../../../src/config/load.ts'
import { OPTIONS } from '../../../src/config/options.ts'
import type { Config } from '../../../src/config/types.ts'

const load = (): Config =>
  loadConfig({ env: {}, flags: { upstream: 'postgres://app:first@db/app' }, terminal: false }).config

/** The same configuration with every single value replaced by another one. */
function otherwise(value: unknown): unknown {
  if (value instanceof Map) return value
  if (Array.isArray(value)) return [...value, 'another']
  if (typeof value !== 'object' || value === null) return `another than ${String(value)}`
  return Object.fromEntries(Object.entries(value).map(([key, inner]) => [key, otherwise(inner)]))
}

describe('changesBetween', () => {
  it('names every value by an option of the file', () => {
    const before = load()
    const { changed, needsRestart } = changesBetween(before, otherwise(before) as Config)
    const known = new Set(OPTIONS.map(({ path }) => path.join('.')))
    const names = [...changed, ...needsRestart]
    assert.deepEqual(
      names.filter((name) => !known.has(name)),
      [],
    )
    // Passwords, URLs and files are told by what they became; all others must be there.
    const missing = [...known].filter((name) => !names.includes(name) && !/_file$|\.url$|</.test(name))
    assert.deepEqual(missing, [])
  })

  it('keeps what is open, and what runs, as it is', () => {
    const before = load()
    const after = otherwise(before) as Config
    const { config, needsRestart } = changesBetween(before, after)
    assert.equal(config.listen, before.listen)
    assert.equal(config.embedded, before.embedded)
    assert.deepEqual([config.admin.port, config.log.format], [before.admin.port, before.log.format])
    assert.deepEqual([config.admin.users, config.log.level], [after.admin.users, after.log.level])
    assert.ok(needsRestart.includes('listen.port') && needsRestart.includes('log.format'))
    assert.ok(!needsRestart.includes('pool.size'))
  })

  it('tells databases and users that came and went by name, and the keys of those that stay', () => {
    const before = {
      ...load(),
      databases: new Map([
        ['a', { host: 'one' }],
        ['b', { host: 'one' }],
      ]),
      users: new Map([['eve', { secret: 'first' }]]),
    }
    const after = {
      ...load(),
      databases: new Map([
        ['b', { host: 'two', poolSize: 4 }],
        ['c', { host: 'one' }],
      ]),
      users: new Map([['eve', { secret: 'second' }]]),
    }
    const { changed, databases, users } = changesBetween(before, after)
    assert.deepEqual(databases, { added: ['c'], removed: ['a'], changed: ['b'] })
    assert.deepEqual(users, { added: [], removed: [], changed: ['eve'] })
    assert.deepEqual(changed, ['databases.b.host', 'databases.b.pool_size', 'users.eve.secret'])
  })
})
