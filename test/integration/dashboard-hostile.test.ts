// Whoever has a raw socket to the admin port: what is no request of the page costs nobody else anything,
// opens no file and leaves nothing behind.
import assert from 'node:assert/strict'
import { connect, type Socket } from 'node:net'
import { once } from 'node:events'
import { suite, test } from 'node:test'
import { ADMIN, type ConsoleRig, startConsole } from '../support/console.ts'
import { DashboardClient } from '../support/dashboard.ts'
import { getPostgres } from '../support/postgres.ts'
import { eventually } from '../support/rig.ts'

const postgres = await getPostgres()

async function start(): Promise<{ rig: ConsoleRig; page: DashboardClient; port: number }> {
  const rig = await startConsole(postgres, { admin: { host: '127.0.0.1', port: 0 } })
  const port = rig.test.pooler.addresses.admin?.port ?? 0
  return { rig, page: new DashboardClient(port), port }
}

async function open(port: number): Promise<Socket> {
  const socket = connect(port, '127.0.0.1')
  socket.on('error', () => {})
  await once(socket, 'connect')
  return socket
}

/** All that is answered to these bytes. */
async function said(port: number, bytes: string): Promise<string> {
  const socket = await open(port)
  socket.end(bytes)
  let text = ''
  for await (const chunk of socket) text += String(chunk)
  return text
}

const get = (target: string, more = ''): string =>
  `GET ${target} HTTP/1.1\r\nhost: 127.0.0.1\r\nconnection: close\r\n${more}\r\n`

/** Errors of ours would be in the log. */
function faults({ test: { lines } }: ConsoleRig): string[] {
  return lines.filter(({ level }) => level === 'error').map(({ message }) => message)
}

suite('a raw socket', () => {
  test('gets no file by any path', async () => {
    const { rig, port } = await start()
    const targets = [
      '/dashboard/../../../etc/passwd',
      '/dashboard/%2e%2e%2f%2e%2e%2fpackage.json',
      '/dashboard/..\\..\\package.json',
      '/dashboard/app.js%00.css',
      '/dashboard/app.js/',
      '/dashboard//app.js',
      '/dashboard/./app.js',
      '/dashboard/tsconfig.json',
      '/dashboard/types.d.ts',
      '/dashboard/__proto__',
      '//dashboard/app.js',
      'http://127.0.0.1/dashboard/app.js',
    ]
    for (const target of targets) assert.match(await said(port, get(target)), /^HTTP\/1\.1 40[04] /, target)
    assert.match(await said(port, get('/dashboard/app.js')), /^HTTP\/1\.1 200 /)
    assert.match(
      await said(port, get('/dashboard/app.js?../x')),
      /^HTTP\/1\.1 200 /,
      'what is asked counts not',
    )
    assert.deepEqual(faults(rig), [])
  })

  test('without a host, with several, or with too many headers is refused', async () => {
    const { port } = await start()
    assert.match(await said(port, 'GET /dashboard/me HTTP/1.0\r\n\r\n'), /^HTTP\/1\.1 421 /)
    assert.match(await said(port, 'GET /dashboard/me HTTP/1.1\r\n\r\n'), /^HTTP\/1\.1 400 /)
    assert.match(await said(port, 'GET /dashboard/me HTTP/1.1\r\nhost:\r\n\r\n'), /^HTTP\/1\.1 421 /)
    const twice =
      'GET /dashboard/me HTTP/1.1\r\nhost: evil.example\r\nhost: 127.0.0.1\r\nconnection: close\r\n\r\n'
    assert.match(await said(port, twice), /^HTTP\/1\.1 4(00|21) /)
    assert.match(
      await said(port, get('/dashboard/me', `cookie: ${'x'.repeat(20_000)}\r\n`)),
      /^HTTP\/1\.1 431 /,
    )
    const cookies = `cookie: ${'pgmux_session=x; '.repeat(700)}\r\n`
    assert.match(await said(port, get('/dashboard/me', cookies)), /"role":null/)
  })

  test('that breaks off in the middle leaves nothing', async () => {
    const { rig, page, port } = await start()
    const head = 'POST /dashboard/login HTTP/1.1\r\nhost: 127.0.0.1\r\ncontent-type: application/json\r\n'
    for (const bytes of [
      'GET /dash',
      `${head}content-length: 100\r\n\r\n{"user"`,
      `${head}transfer-encoding: chunked\r\n\r\n5\r\n{"a`,
    ]) {
      const socket = await open(port)
      socket.write(bytes)
      socket.destroy()
    }
    const halves = await Promise.all(Array.from({ length: 50 }, () => open(port)))
    for (const half of halves) half.write(`${head}content-length: 100\r\n\r\n{`)
    assert.equal((await page.ask('/dashboard/me')).status, 200, 'others are answered')
    const long = `${head}transfer-encoding: chunked\r\n\r\n${`4000\r\n${'x'.repeat(0x4000)}\r\n`.repeat(3)}`
    assert.match(await said(port, long), /^HTTP\/1\.1 413 .*connection: close/s)
    const hidden = 'GET /dashboard/me HTTP/1.1\r\n\r\n'
    const smuggled = `${head}content-length: 4\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n${hidden}`
    assert.match(await said(port, smuggled), /^HTTP\/1\.1 400 /)
    for (const half of halves) half.destroy()
    assert.deepEqual(faults(rig), [])
  })

  test('that gives up a PAUSE has not paused', async () => {
    const { rig, page, port } = await start()
    const { headers } = await page.post('/dashboard/login', ADMIN)
    const cookie = String(headers['set-cookie']?.[0]).split(';')[0]
    await using client = await rig.client()
    await client.query('begin')
    const body = '{"command":"PAUSE"}'
    const socket = await open(port)
    socket.write(
      `POST /dashboard/act HTTP/1.1\r\nhost: localhost\r\ncookie: a=b; ${cookie}\r\n` +
        `content-type: application/json\r\ncontent-length: ${body.length}\r\n\r\n${body}`,
    )
    const { gates } = rig.test.pooler.router
    await eventually(() => gates.isAllPaused)
    socket.destroy()
    await eventually(() => !gates.isAllPaused)
    await client.query('commit')
    await client.query('select 1')
    assert.deepEqual(faults(rig), [])
  })

  test('does not keep the process from its end', async () => {
    const { rig, page, port } = await start()
    await page.post('/dashboard/login', ADMIN)
    const deaf = await open(port)
    deaf.write(get('/dashboard/events').replace('connection: close\r\n', ''))
    deaf.pause()
    await using client = await rig.client()
    await client.query('begin')
    const { headers } = await page.post('/dashboard/login', ADMIN)
    page.cookie = String(headers['set-cookie']?.[0]).split(';')[0] ?? ''
    const waiting = page.post('/dashboard/act', { command: 'PAUSE' })
    await eventually(() => rig.test.pooler.router.gates.isAllPaused)
    await rig.test.pooler.drain(0)
    assert.ok([200, 409].includes((await waiting).status), 'done by the end, or given up')
    deaf.resume()
    await once(deaf, 'close')
  })
})
