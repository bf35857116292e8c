// Which wish counts for the pins of a database and user, from the file to the pool.
import assert from 'node:assert/strict'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, describe, it } from 'node:test'
import { loadConfig } from '../../src/config/load.ts'
import { pinPolicyOf } from '../../src/routing/precedence.ts'

const folder = mkdtempSync(join(tmpdir(), 'pgmux-pins-'))
after(() => rmSync(folder, { recursive: true }))

const FILE = `
session:
  pins:
    temp: warn
    cursor: refuse
  max_pinned: 7
  max_pin_time: 5m
databases:
  app:
    host: 127.0.0.1
    pins:
      temp: refuse
      listen: warn
    max_pinned: 3
users:
  ann:
    password: x
    pins:
      temp: allow
    max_pin_time: 0
`

describe('the policy for pins', () => {
  it('is the user’s, the database’s, the one for all: each key by itself', () => {
    const path = join(folder, 'config.yaml')
    writeFileSync(path, FILE)
    const { config } = loadConfig({ env: {}, flags: { config: path }, terminal: false })
    const of = (database: string, user: string) => {
      const { actions, maxPinned, maxPinTimeMs } = pinPolicyOf(config, database, user)
      const { temp, cursor, listen, advisory_lock } = actions
      return [temp, cursor, listen, advisory_lock, maxPinned, maxPinTimeMs]
    }
    assert.deepEqual(of('app', 'ann'), ['allow', 'refuse', 'warn', 'allow', 3, 0])
    assert.deepEqual(of('app', 'bob'), ['refuse', 'refuse', 'warn', 'allow', 3, 300_000])
    assert.deepEqual(of('other', 'ann'), ['allow', 'refuse', 'allow', 'allow', 7, 0])
    assert.deepEqual(of('other', 'bob'), ['warn', 'refuse', 'allow', 'allow', 7, 300_000])
  })
})
