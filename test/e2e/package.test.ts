// Owns the proof that what `npm pack` makes works in an empty folder, as a program and as a library, and
// that the start guard deals with an old Node. Must never touch the clone besides dist/, which prepack makes.
import assert from 'node:assert/strict'
import { execFile, spawn } from 'node:child_process'
import { once } from 'node:events'
import { existsSync } from 'node:fs'
import { cp, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { after, test } from 'node:test'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import { getPostgres, notRun } from '../support/postgres.ts'
import { WireClient } from '../support/wire-client.ts'

const run = promisify(execFile)
const clone = fileURLToPath(new URL('../..', import.meta.url))
const { version } = JSON.parse(await readFile(join(clone, 'package.json'), 'utf8')) as { version: string }
const folder = await mkdtemp(join(tmpdir(), 'pgmux-package-'))
after(() => rm(folder, { recursive: true, force: true }))

/** Makes Node call itself 20.1.0. */
const OLD = 'data:text/javascript,Object.defineProperty(process.versions, "node", { value: "20.1.0" })'

async function packed(): Promise<{ files: string[]; tarball: string }> {
  const { stdout } = await run('npm', ['pack', '--json', '--pack-destination', folder], { cwd: clone })
  // What prepack prints stands in front.
  const [facts] = JSON.parse(stdout.slice(stdout.search(/^\[/m))) as [
    { filename: string; files: { path: string }[] },
  ]
  return { files: facts.files.map(({ path }) => path), tarball: join(folder, facts.filename) }
}

test('a packed pgmux, installed in an empty folder, runs and can be imported', async () => {
  const { files, tarball } = await packed()
  const strange = files.filter((path) => /^(src|test|bench|node_modules|\.)/.test(path))
  assert.deepEqual(strange, [])
  for (const path of [
    'bin/pgmux.js',
    'dist/main.js',
    'dist/index.js',
    'dist/index.d.ts',
    'dist/admin/page/index.html',
    'config.yaml',
    'examples/README.md',
  ]) {
    assert.ok(files.includes(path), `${path} is missing in the package`)
  }
  await writeFile(join(folder, 'package.json'), '{"private":true,"type":"module"}')
  await run('npm', ['install', '--prefer-offline', '--no-audit', '--no-fund', tarball], { cwd: folder })
  const { stdout } = await run('npx', ['--no-install', 'pgmux', '--version'], { cwd: folder })
  assert.equal(stdout.trim(), `pgmux ${version}`)
  const code = `import { createPooler, ConfigError } from 'pgmux'
    console.log(typeof createPooler)
    await createPooler({ flags: { mode: 'wrong' } }).catch((e) => console.log(e instanceof ConfigError))`
  const library = await run(process.execPath, ['--input-type=module', '-e', code], { cwd: folder })
  assert.deepEqual(library.stdout.trim().split('\n'), ['function', 'true'])
})

test('the packed library: its types, and the examples of examples/library', async (t) => {
  const postgres = await getPostgres()
  await cp(join(clone, 'examples/library'), join(folder, 'library'), { recursive: true })
  const tsc = join(clone, 'node_modules/typescript/bin/tsc')
  const types = ['--typeRoots', join(clone, 'node_modules/@types'), '--types', 'node']
  const strict = [
    '--ignoreConfig',
    '--noEmit',
    '--strict',
    '--module',
    'nodenext',
    '--target',
    'esnext',
    ...types,
  ]
  const files = ['users', 'tenants', 'watch'].map((name) => join(folder, 'library', `${name}.ts`))
  await run(process.execPath, [tsc, ...strict, ...files], { cwd: folder })
  const started = async (
    name: string,
  ): Promise<{ port: number; said: string[]; stop(): Promise<unknown> }> => {
    const env = { ...process.env, DATABASE_URL: postgres.url, LISTEN: '127.0.0.1:0', SLOW_MS: '0' }
    const child = spawn(process.execPath, [join(folder, 'library', `${name}.ts`)], {
      env,
      stdio: ['ignore', 'pipe', 'inherit'],
    })
    t.after(() => child.kill('SIGKILL'))
    const said: string[] = []
    const port = new Promise<number>((resolve) => {
      createInterface({ input: child.stdout }).on('line', (line) => {
        said.push(line)
        const found = /^ready on port (\d+)$/.exec(line)
        if (found !== null) resolve(Number(found[1]))
      })
    })
    const exit = once(child, 'exit')
    const stop = (): Promise<unknown> => {
      child.kill('SIGTERM')
      return exit
    }
    return { port: await port, said, stop }
  }
  const to = {
    host: '127.0.0.1',
    user: postgres.user,
    password: postgres.password,
    database: postgres.database,
  }
  const users = await started('users')
  const ann = await WireClient.connect({ ...to, port: users.port, user: 'ann', password: 'green' })
  assert.equal((await ann.query('select current_user')).rows[0]?.[0], postgres.user)
  await assert.rejects(
    WireClient.connect({ ...to, port: users.port, user: 'eve', password: 'green' }),
    /28P01/,
  )
  assert.deepEqual(await users.stop(), [0, null])
  const tenants = await started('tenants')
  const globex = await WireClient.connect({ ...to, port: tenants.port, database: 'globex' })
  assert.equal((await globex.query('select current_database()')).rows[0]?.[0], 'template1')
  await assert.rejects(
    WireClient.connect({ ...to, port: tenants.port, database: 'x' }),
    /there is no tenant "x"/,
  )
  assert.deepEqual(await tenants.stop(), [0, null])
  const watch = await started('watch')
  const seen = await WireClient.connect({ ...to, port: watch.port })
  await seen.query('create temp table t (n int)')
  await seen.query('select 1')
  await seen.end()
  assert.deepEqual(await watch.stop(), [0, null])
  const kinds = watch.said.slice(1).map((line) => (JSON.parse(line) as { what: string }).what)
  for (const kind of ['in', 'statement', 'pin', 'out'])
    assert.ok(kinds.includes(kind), `${kind}: ${watch.said.join('\n')}`)
})

test('the packed pgmux has its dashboard, and answers the script of docs/from-neon.md', async () => {
  const postgres = await getPostgres()
  const installed = join(folder, 'node_modules')
  const page = await readFile(join(installed, 'pgmux', 'docs', 'from-neon.md'), 'utf8')
  const script = /^```js\n(.*?)^```$/ms.exec(page)?.[1]
  assert.ok(script !== undefined, 'it begins with a script')
  await writeFile(join(folder, 'ask.mjs'), script)
  const args = ['--upstream', postgres.url, '--listen', '127.0.0.1:0', '--serverless', '127.0.0.1:0']
  const bin = join(installed, 'pgmux', 'bin', 'pgmux.js')
  const child = spawn(process.execPath, [bin, ...args, '--admin', '127.0.0.1:0'], { cwd: folder })
  after(() => child.kill('SIGKILL'))
  let [origin, dashboard]: (string | undefined)[] = []
  for await (const line of createInterface({ input: child.stdout })) {
    origin ??= /POST (http:\/\/[^/]+)\/sql/.exec(line)?.[1]
    dashboard ??= /^pgmux dashboard: (http:\S+\/)$/.exec(line)?.[1]
    if (line.startsWith('pgmux connect')) break
  }
  assert.ok(origin !== undefined, 'it says where the endpoint is')
  assert.ok(dashboard !== undefined, 'it says where the dashboard is')
  for (const path of ['', 'dashboard/app.js', 'dashboard/style.css', 'dashboard/uplot.js'])
    assert.equal((await fetch(new URL(path, dashboard))).status, 200, path)
  const { user, password, database } = postgres
  const env = {
    ...process.env,
    PGMUX_URL: origin,
    DATABASE_URL: `postgres://${user}:${password}@db/${database}`,
  }
  for (const driver of ['@neondatabase/serverless', 'neon-serverless-1.1.0']) {
    const target = join(installed, '@neondatabase', 'serverless')
    await rm(target, { recursive: true, force: true })
    await cp(join(clone, 'node_modules', driver), target, { recursive: true })
    const { stdout } = await run(process.execPath, ['ask.mjs'], { cwd: folder, env })
    assert.match(stdout, new RegExp(`^HTTP: PostgreSQL .*\\nWebSocket: ${user} ${database}\\n$`), driver)
  }
  const ended = once(child, 'exit')
  child.kill('SIGTERM')
  assert.deepEqual(await ended, [0, null])
})

test('an old Node is refused in one sentence, when there is no newer one beside pgmux', async () => {
  const guard = join(folder, 'node_modules', 'pgmux', 'bin', 'pgmux.js')
  const started = run(process.execPath, ['--import', OLD, guard, '--version'])
  await assert.rejects(started, (cause: Error & { code: number; stderr: string }) => {
    assert.equal(cause.code, 1)
    assert.match(
      cause.stderr,
      /^pgmux needs Node 22\.18 or newer and this is 20\.1\.0: install a newer one.*\n$/,
    )
    return true
  })
})

test('in a clone, an old Node hands over to the one that npm has installed', async (t) => {
  if (!existsSync(join(clone, 'node_modules', 'node', 'bin', 'node'))) {
    return notRun(t, 'the package node is not installed: install scripts were not allowed')
  }
  const guard = join(clone, 'bin', 'pgmux.js')
  const { stdout } = await run(process.execPath, ['--import', OLD, guard, '--version'])
  assert.equal(stdout.trim(), `pgmux ${version}`)
  const failed = run(process.execPath, ['--import', OLD, guard, '--no-such-option'])
  await assert.rejects(failed, { code: 2 }, 'the exit code is passed on')
})
