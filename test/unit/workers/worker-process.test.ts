// A worker that the system has no room for: whoever waits for it hears so, once.
import assert from 'node:assert/strict'
import { it } from 'node:test'
import { WorkerProcess } from '../../../src/workers/worker-process.ts'

it('a worker that cannot even begin fails at its start, and is told as ended once', async (t) => {
  const { execPath } = process
  t.after(() => {
    process.execPath = execPath
  })
  process.execPath = '/nowhere/node'
  const ends: string[] = []
  const worker = new WorkerProcess(1, 0, { handlers: {}, onExit: (_worker, how) => ends.push(how) })
  await assert.rejects(worker.start({} as never), /ENOENT/)
  assert.equal(ends.length, 1)
  assert.equal(worker.isReady, false)
})
