// The examples as they are, each on its platform where that is on this machine, else as the plain function
// that it is. Must never change an example to make it run: what it is given is what its head says.
import assert from 'node:assert/strict'
import { copyFileSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, suite, type TestContext, test } from 'node:test'
import { fileURLToPath, pathToFileURL } from 'node:url'
import { NO_BROWSER, servePages, startBrowser } from '../support/browser.ts'
import { stage } from '../support/compare.ts'
import { endpointOf, on, urlOf } from '../support/neon.ts'
import { getPostgres, notRun } from '../support/postgres.ts'
import { freePort } from '../support/program.ts'
import { findProgram, runProgram } from '../support/programs.ts'
import { startServer } from '../support/servers.ts'
import { AUDIENCE, ISSUER, Issuer, KeyServer } from '../support/tokens.ts'

const EXAMPLES = new URL('../../examples/', import.meta.url)
const MODULES = new URL('../../node_modules/', import.meta.url)
const path = (name: string, base = EXAMPLES) => fileURLToPath(new URL(name, base))

const postgres = await getPostgres()
await postgres.admin(readFileSync(new URL('notes.sql', EXAMPLES), 'utf8'))
await postgres.admin('create role reader nologin; grant select on notes to reader')
const page = await servePages({
  '/index.html': new URL('browser/index.html', EXAMPLES),
  '/neon.mjs': new URL('@neondatabase/serverless/index.mjs', MODULES),
})
const issuer = await Issuer.create()
const keys = await KeyServer.start(await issuer.keys())
after(() => keys.stop())
const { pooler } = await stage(postgres, 'one', {
  pool: { size: 4 },
  serverless: on({
    allowedOrigins: [page],
    jwt: {
      ...{ jwksUrl: keys.url, algorithms: ['ES256'], issuer: ISSUER, audience: AUDIENCE },
      ...{ roles: ['reader'], loginUser: postgres.user },
    },
  }),
})
const env = { PGMUX_URL: `http://${endpointOf(pooler)}`, DATABASE_URL: urlOf(postgres) }
Object.assign(process.env, env)

interface Note {
  id: number
  body: string
}

/** What a handler makes of requests, wherever it runs. */
type Ask = (method: 'GET' | 'POST', body?: unknown) => Promise<{ status: number; value: unknown }>

/** Adds a note and reads it back. */
async function addsAndShows(ask: Ask, body: string): Promise<void> {
  const added = await ask('POST', { body })
  assert.equal(added.status, 201)
  const { id } = added.value as Note
  const shown = await ask('GET')
  assert.equal(shown.status, 200)
  const mine = (shown.value as Note[]).find((note) => note.id === id)
  assert.deepEqual(mine, { id, body })
}

/** Asks the server at `origin`. */
function over(origin: string): Ask {
  return async (method, body) => {
    const response = await fetch(
      origin,
      body === undefined ? { method } : { method, body: JSON.stringify(body) },
    )
    const text = await response.text()
    assert.match(text, /^[[{]/, text)
    return { status: response.status, value: JSON.parse(text) }
  }
}

/** Imports an example whose types are its own business. */
function load<T>(name: string): Promise<T> {
  return import(pathToFileURL(path(name)).href) as Promise<T>
}

suite('handlers, called as their platforms call them', () => {
  test('AWS Lambda', async () => {
    const { handler } = await load<{
      handler: (event: object) => Promise<{ statusCode: number; body: string }>
    }>('aws-lambda/index.mjs')
    await addsAndShows(async (method, body) => {
      const event = { requestContext: { http: { method } }, body: JSON.stringify(body) }
      const answer = await handler(event)
      return { status: answer.statusCode, value: JSON.parse(answer.body) }
    }, 'from Lambda')
  })

  test('Vercel', async () => {
    const { GET, POST } = await load<{
      GET: () => Promise<Response>
      POST: (request: Request) => Promise<Response>
    }>('vercel/api/notes.ts')
    const ask: Ask = async (method, body) => {
      const post = () => POST(new Request('http://app/', { method, body: JSON.stringify(body) }))
      const response = method === 'GET' ? await GET() : await post()
      return { status: response.status, value: await response.json() }
    }
    await addsAndShows(ask, 'from Vercel')
    const empty = await ask('POST', { body: '' })
    assert.deepEqual(empty, { status: 422, value: { error: 'an empty note' } })
  })

  test('Cloudflare Workers, its handler under Node', async () => {
    const { default: worker } = await load<{
      default: { fetch: (request: Request, env: object, context: object) => Promise<Response> }
    }>('cloudflare-workers/worker.js')
    const last: Promise<unknown>[] = []
    const context = { waitUntil: (promise: Promise<unknown>) => last.push(promise) }
    await addsAndShows(async (method, body) => {
      const request = new Request('http://app/', {
        method,
        ...(body === undefined ? {} : { body: JSON.stringify(body) }),
      })
      const response = await worker.fetch(request, env, context)
      return { status: response.status, value: await response.json() }
    }, 'from a Worker under Node')
    await Promise.all(last)
  })
})

suite('programs', () => {
  for (const name of ['drizzle', 'kysely']) {
    test(name, async () => {
      const { stdout, stderr, code } = await runProgram(process.execPath, [path(`${name}/main.ts`)], { env })
      assert.equal(code, 0, stderr)
      const { added, last } = JSON.parse(stdout) as { added: { id: number; total: number }; last: Note[] }
      assert.ok(added.total > 0)
      assert.deepEqual(last, [{ id: added.id, body: `from ${name}` }])
    })
  }
})

/** The configuration that wrangler would make of the folder, in a folder of its own. @returns its path */
function workerdConfig(port: number): string {
  const folder = mkdtempSync(join(tmpdir(), 'pgmux-worker-'))
  after(() => rmSync(folder, { recursive: true, force: true }))
  copyFileSync(path('cloudflare-workers/worker.js'), join(folder, 'worker.js'))
  copyFileSync(path('@neondatabase/serverless/index.mjs', MODULES), join(folder, 'neon.mjs'))
  const date = /^compatibility_date = (".*")$/m.exec(
    readFileSync(path('cloudflare-workers/wrangler.toml'), 'utf8'),
  )?.[1]
  const bindings = Object.entries(env).map(([name, text]) => `(name = "${name}", text = "${text}")`)
  const config = `using Workerd = import "/workerd/workerd.capnp";
const config :Workerd.Config = (
  services = [
    (name = "main", worker = .notes),
    (name = "internet", network = (allow = ["local", "private"]))
  ],
  sockets = [(name = "http", address = "127.0.0.1:${port}", http = (), service = "main")]
);
const notes :Workerd.Worker = (
  modules = [
    (name = "worker.js", esModule = embed "worker.js"),
    (name = "@neondatabase/serverless", esModule = embed "neon.mjs")
  ],
  bindings = [${bindings.join(', ')}],
  compatibilityDate = ${date}
);
`
  writeFileSync(join(folder, 'config.capnp'), config)
  return join(folder, 'config.capnp')
}

/** The program, or a note that this test was not run. */
function found(t: TestContext, name: string): string | null {
  const program = findProgram(name)
  if (program === null) notRun(t, `${name} is not installed`)
  return program
}

suite('on their platforms', () => {
  test('Deno', async (t) => {
    const deno = found(t, 'deno')
    if (deno === null) return
    const port = await freePort()
    const args = [
      'serve',
      '-E',
      '-N',
      '--no-check',
      '--host=127.0.0.1',
      `--port=${port}`,
      path('deno/main.ts'),
    ]
    const server = await startServer({ program: deno, args, env, port })
    await addsAndShows(over(server.origin), 'from Deno')
    await server.stop()
  })

  test('Bun', async (t) => {
    const bun = found(t, 'bun')
    if (bun === null) return
    const port = await freePort()
    const own = { ...env, PORT: String(port) }
    const server = await startServer({ program: bun, args: [path('bun/main.ts')], env: own, port })
    await addsAndShows(over(server.origin), 'from Bun')
    await server.stop()
  })

  test('Cloudflare Workers, in workerd', async (t) => {
    const workerd = found(t, 'workerd')
    if (workerd === null) return
    const port = await freePort()
    const config = workerdConfig(port)
    const server = await startServer({ program: workerd, args: ['serve', config], env: {}, port })
    await addsAndShows(over(server.origin), 'from a Worker')
    await server.stop()
  })

  test('a browser, with a token', async (t) => {
    if (NO_BROWSER !== '') return notRun(t, NO_BROWSER)
    const browser = await startBrowser()
    const tab = await browser.newPage()
    await tab.goto(`${page}/index.html`)
    await tab.fill('[name=pgmux]', env.PGMUX_URL)
    await tab.fill('[name=url]', `postgres://reader@db/${postgres.database}`)
    await tab.fill('[name=token]', await issuer.token({ claims: { role: 'reader' } }))
    for (const transport of ['http', 'websocket']) {
      await tab.selectOption('[name=transport]', transport)
      await tab.fill('[name=query]', `select current_user::text as me, '${transport}' as way`)
      await tab.click('button')
      await tab.getByText(`"me": "reader",\n    "way": "${transport}"`).waitFor()
      await tab.fill('[name=query]', 'delete from notes')
      await tab.click('button')
      await tab.getByText('42501: permission denied for table notes').waitFor()
    }
  })
})
