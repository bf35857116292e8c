// Tests the HTTP wrapper: answers, errors without their text, limits, closing.
import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { systemClock } from '../../../src/net/clock.ts'
import { setHandlerErrorReporter } from '../../../src/net/handler-errors.ts'
import { serveHttp } from '../../../src/net/http.ts'
import { systemRandom } from '../../../src/net/random.ts'

describe('serveHttp', () => {
  it('answers, hides errors, limits headers and closes', async () => {
    const reports: string[] = []
    setHandlerErrorReporter((error, where) => reports.push(`${where}: ${error.message}`))
    const listener = await serveHttp({ host: '127.0.0.1', port: 0 }, async (request, response) => {
      if (request.url?.startsWith('/bad')) throw new Error('secret')
      response.end('fine')
    })
    const url = `http://${listener.address}:${listener.port}`
    assert.equal(await (await fetch(url)).text(), 'fine')
    const bad = await fetch(`${url}/bad?token=1`)
    assert.deepEqual([bad.status, await bad.text()], [500, 'internal error\n'])
    assert.deepEqual(reports, ['HTTP GET /bad: secret'])
    const huge = await fetch(url, { headers: { 'x-huge': 'x'.repeat(20_000) } })
    assert.equal(huge.status, 431)
    await huge.text()
    await assert.rejects(
      serveHttp({ host: '127.0.0.1', port: listener.port }, () => {}),
      /it is in use by another process/,
    )
    await listener.close()
    await assert.rejects(fetch(url))
  })
})

describe('what production code is given', () => {
  it('has a clock that does not go back and chance in range', () => {
    const before = systemClock.now()
    assert.ok(systemClock.now() >= before)
    const value = systemRandom.next()
    assert.ok(value >= 0 && value < 1)
    assert.equal(systemRandom.bytes(32).length, 32)
    assert.notDeepEqual(systemRandom.bytes(32), systemRandom.bytes(32))
  })
})
