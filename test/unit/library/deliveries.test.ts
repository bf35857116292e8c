// Calls of an embedding program: in order, later, apart from each other, and not more than can wait.
import assert from 'node:assert/strict'
import { it } from 'node:test'
import { Deliveries } from '../../../src/library/deliveries.ts'

const turn = (): Promise<void> => new Promise((resolve) => setImmediate(resolve))

it('calls later and in order; what throws is reported and stops nobody', async () => {
  const said: string[] = []
  const deliveries = new Deliveries((what, thrown) => said.push(`${what}: ${String(thrown)}`))
  deliveries.add('a', () => said.push('first'))
  deliveries.add('b', () => {
    throw new Error('at once')
  })
  deliveries.add('c', () => Promise.reject(new Error('later')))
  deliveries.add('d', () => said.push('last'))
  assert.deepEqual(said, [])
  await turn()
  await turn()
  assert.deepEqual(said, ['first', 'b: Error: at once', 'last', 'c: Error: later'])
  const more: string[] = []
  deliveries.add('e', () => more.push('again'))
  await turn()
  assert.deepEqual(more, ['again'])
})

it('of a flood it keeps ten thousand, and gives others a turn while it works them off', async () => {
  let calls = 0
  let turns = 0
  const deliveries = new Deliveries(() => {})
  for (let i = 0; i < 12_000; i++) {
    deliveries.add('slow', () => {
      calls++
      const end = performance.now() + 0.02
      while (performance.now() < end);
    })
  }
  assert.equal(deliveries.lost, 2000)
  while (calls < 10_000) {
    const before = calls
    await turn()
    turns++
    // 5 ms for calls of 0.02 ms each.
    assert.ok(calls - before <= 260, `${calls - before} calls in one turn`)
  }
  assert.equal(calls, 10_000)
  assert.ok(turns >= 10_000 / 260)
})
