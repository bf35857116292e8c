// The table of a server's states, walked: every move that is not in it is refused and changes nothing.

import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { move, SERVER_MOVES } from '../../../src/pool/states.ts'
import type { PooledServer, ServerState } from '../../../src/pool/types.ts'

const STATES = Object.keys(SERVER_MOVES) as ServerState[]

function serverIn(state: ServerState): PooledServer {
  return {
    state,
    baseline: '',
    settings: null,
    openedAt: 0,
    idleSince: 0,
    isRetired: false,
    isUnseen: false,
    test() {},
    inspect() {},
    close() {},
  }
}

describe('states of a server', () => {
  it('are five, and each can be reached from opening', () => {
    assert.deepEqual([...STATES].sort(), ['active', 'closed', 'idle', 'opening', 'testing'])
    const reached = new Set<ServerState>(['opening'])
    for (const state of reached) for (const next of SERVER_MOVES[state]) reached.add(next)
    assert.equal(reached.size, STATES.length)
  })

  it('end in closed, which every other state can reach', () => {
    assert.deepEqual(SERVER_MOVES.closed, [])
    for (const state of STATES) if (state !== 'closed') assert.ok(SERVER_MOVES[state].includes('closed'))
  })

  it('never go from opening or testing straight to a client', () => {
    for (const state of STATES) {
      if (state !== 'idle') assert.ok(!SERVER_MOVES[state].includes('active'), state)
    }
  })

  for (const from of STATES) {
    for (const to of STATES) {
      const isAllowed = SERVER_MOVES[from].includes(to)
      it(`${isAllowed ? 'go' : 'do not go'} from ${from} to ${to}`, () => {
        const server = serverIn(from)
        if (isAllowed) move(server, to)
        else assert.throws(() => move(server, to), /cannot go from/)
        assert.equal(server.state, isAllowed ? to : from)
      })
    }
  }
})
