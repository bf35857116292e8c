// The log of pgmux goes to a full disk, to a reader that has gone or to one that has stopped (fault F16):
// clients do not notice, and the process goes on and ends in order.
import assert from 'node:assert/strict'
import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { closeSync, openSync } from 'node:fs'
import { after, describe, it } from 'node:test'
import { fileURLToPath } from 'node:url'
import { direct } from '../support/compare.ts'
import { Healthy } from '../support/healthy.ts'
import { getPostgres } from '../support/postgres.ts'
import { freePort } from '../support/program.ts'
import { eventually } from '../support/rig.ts'
import { WireClient } from '../support/wire-client.ts'

const postgres = await getPostgres()
const PROGRAM = fileURLToPath(new URL('../../bin/pgmux.js', import.meta.url))

describe('nobody takes our log (F16)', () => {
  const ways: [
    name: string,
    open: () => number | 'pipe',
    begin: (child: ChildProcess) => void,
    rounds: number,
  ][] = [
    ['its disk is full', () => openSync('/dev/full', 'w'), () => {}, 3],
    ['its reader has gone', () => 'pipe', (child) => child.stdout?.destroy(), 3],
    ['its reader has stopped to read', () => 'pipe', () => {}, 20],
  ]
  for (const [name, open, begin, rounds] of ways) {
    it(`${name}: clients do not notice, and it ends in order`, async () => {
      const port = await freePort()
      const out = open()
      const args = [
        'run',
        '--upstream',
        postgres.url,
        '--listen',
        `127.0.0.1:${port}`,
        '--admin',
        'off',
        '--serverless',
        'off',
      ]
      const child = spawn(
        process.execPath,
        [PROGRAM, ...args, '--log-format', 'json', '--log-level', 'debug'],
        {
          stdio: ['ignore', out, 'pipe'],
        },
      )
      after(() => child.kill('SIGKILL'))
      if (typeof out === 'number') closeSync(out)
      let complaint = ''
      child.stderr?.on('data', (piece: Buffer) => (complaint += piece.toString()))
      const exit = once(child, 'exit')
      begin(child)
      const address = { ...direct(postgres), host: '127.0.0.1', port }
      await eventually(async () => (await WireClient.connect(address)).end(), 15_000)
      const healthy = await Healthy.start(address)
      // Each login is a few lines; twenty times twenty are more than a pipe holds.
      for (let round = 0; round < rounds; round++) {
        const clients = await Promise.all(Array.from({ length: 20 }, () => WireClient.connect(address)))
        for (const { error } of await Promise.all(clients.map((client) => client.query('select 1'))))
          assert.equal(error, null)
        await Promise.all(clients.map((client) => client.end()))
      }
      await healthy.goesOn()
      await healthy.stop()
      child.kill('SIGTERM')
      assert.deepEqual([...(await exit), complaint], [0, null, ''])
    })
  }
})
