// What the router keeps: pools that somebody uses. Never a real server.
import assert from 'node:assert/strict'
import { it } from 'node:test'
import { loadConfig } from '../../src/config/load.ts'
import type { PoolEntry } from '../../src/routing/pool-entry.ts'
import { Router } from '../../src/routing/router.ts'

const MINUTE = 60_000

it('forgets the pools that nobody uses, and no others', () => {
  const { config } = loadConfig({
    env: {},
    flags: { upstream: 'postgres://u:p@127.0.0.1/x' },
    terminal: false,
  })
  const used = new Set(['wanted'])
  const makePool = (database: string) =>
    ({ database, isForgotten: (now: number) => now > MINUTE && !used.has(database) }) as unknown as PoolEntry
  const router = new Router(config, { makePool })
  const wanted = router.get('wanted', 'u')
  router.get('tried', 'u')
  assert.deepEqual(router.forget(MINUTE), [])
  assert.deepEqual(
    router.forget(MINUTE + 1).map((entry) => entry.database),
    ['tried'],
  )
  assert.equal(router.get('wanted', 'u'), wanted)
  assert.deepEqual([...router.entries()], [wanted])
})
