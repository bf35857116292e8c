// docker/Dockerfile without a container engine: its steps run one by one in folders that stand for its
// stages, what they make starts as process 1, answers the HEALTHCHECK, writes nothing, and stops in order.
// What a step may copy is what .dockerignore lets through.
import assert from 'node:assert/strict'
import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { cpSync, existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, statSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { dirname, join, resolve } from 'node:path'
import { after, describe, it } from 'node:test'
import { fileURLToPath } from 'node:url'
import { loadConfig } from '../../src/config/load.ts'
import { OPTIONS } from '../../src/config/options.ts'
import { getPostgres, notRun } from '../support/postgres.ts'
import { freePort } from '../support/program.ts'
import { findProgram, runProgram } from '../support/programs.ts'
import { until } from '../support/waits.ts'
import { WireClient } from '../support/wire-client.ts'

const clone = fileURLToPath(new URL('../..', import.meta.url))
const LONG = process.env.LONG === '1'

interface Step {
  readonly word: string
  readonly rest: string
}

interface Stage {
  readonly name: string
  readonly from: string
  readonly steps: readonly Step[]
}

/** The instructions, by stage; lines that end in a backslash are joined. */
function stagesOf(text: string): Stage[] {
  const stages: (Stage & { steps: Step[] })[] = []
  for (const line of text
    .replaceAll(/^#.*\n/gm, '')
    .replaceAll(/\\\n\s*/g, '')
    .split('\n')) {
    const [, word = '', rest = ''] = /^(\w+) (.*)$/.exec(line) ?? []
    if (word === 'FROM') {
      const [from = '', , name = 'image'] = rest.split(' ')
      stages.push({ name, from, steps: [] })
    } else if (word !== '') stages.at(-1)!.steps.push({ word, rest })
  }
  return stages
}

const stages = stagesOf(readFileSync(join(clone, 'docker/Dockerfile'), 'utf8'))
const last = stages.at(-1)!
const stepsOf = (word: string): string[] =>
  last.steps.filter((step) => step.word === word).map(({ rest }) => rest)
const let_ = readFileSync(join(clone, 'docker/Dockerfile.dockerignore'), 'utf8').trim().split('\n')

/** Whether the build gets to see this file of the clone. */
function isInContext(path: string): boolean {
  assert.equal(let_[0], '*')
  return let_.slice(1).some((line) => path === line.slice(1) || path.startsWith(`${line.slice(1)}/`))
}

describe('docker/Dockerfile', () => {
  it('copies what is there and what the build gets to see', () => {
    for (const { word, rest } of stages.flatMap(({ steps }) => steps)) {
      if (word !== 'COPY' || rest.startsWith('--from=')) continue
      for (const path of rest.split(' ').slice(0, -1)) {
        assert.ok(existsSync(join(clone, path)), `${path} does not exist`)
        assert.ok(isInContext(path), `${path} is kept out by Dockerfile.dockerignore`)
      }
    }
  })

  it('runs as somebody else than root, on the Node of the clone, and opens the ports that pgmux has', () => {
    const { node = '' } = (
      JSON.parse(readFileSync(join(clone, 'package.json'), 'utf8')) as { devDependencies: { node?: string } }
    ).devDependencies
    for (const { from } of stages) assert.equal(from, `node:${node.split('.')[0]}-slim`)
    assert.deepEqual(stepsOf('USER'), ['node'])
    const { listen, serverless, admin } = loadConfig({ env: {} }).config
    assert.deepEqual(stepsOf('EXPOSE'), [[listen.port, serverless.port, admin.port].join(' ')])
    const [env = ''] = stepsOf('ENV')
    for (const [name] of env.matchAll(/PGMUX_\w+/g))
      assert.ok(
        OPTIONS.some((option) => option.env === name),
        name,
      )
  })
})

/** Folders that stand for the roots of the stages. */
class Build {
  readonly #root = mkdtempSync(join(tmpdir(), 'pgmux-image-'))

  constructor() {
    after(() => rmSync(this.#root, { recursive: true, force: true }))
  }

  /** A path of a stage, in the folder that stands for its root. */
  at(stage: string, path: string): string {
    return join(this.#root, stage, path)
  }

  /** Text with the paths of a stage. */
  translated(stage: string, text: string): string {
    return text.replaceAll(/\/(app|var\/lib\/pgmux)(?=[/\s"']|$)/g, (path) => this.at(stage, path))
  }

  async run(stage: Stage): Promise<void> {
    let folder = '/'
    for (const { word, rest } of stage.steps) {
      if (word === 'WORKDIR') {
        folder = rest
        mkdirSync(this.at(stage.name, folder), { recursive: true })
      } else if (word === 'COPY') this.#copy(stage.name, folder, rest)
      else if (word === 'RUN') await this.#shell(stage.name, folder, rest)
    }
  }

  #copy(stage: string, folder: string, rest: string): void {
    const [, from, paths = rest] = /^--from=(\S+) (.*)$/.exec(rest) ?? []
    const names = paths.split(' ')
    const target = resolve(folder, names.pop()!)
    for (const name of names) {
      const source = from === undefined ? join(clone, name) : this.at(from, name)
      const isInto = names.length > 1 || rest.endsWith('/')
      const to = this.at(stage, isInto && !statSync(source).isDirectory() ? join(target, name) : target)
      mkdirSync(dirname(to), { recursive: true })
      cpSync(source, to, { recursive: true, verbatimSymlinks: true })
    }
  }

  async #shell(stage: string, folder: string, command: string): Promise<void> {
    // The account of the image is not on this machine.
    const here = this.translated(stage, command).replaceAll(
      'node:node',
      `${process.getuid!()}:${process.getgid!()}`,
    )
    const { code, stdout, stderr } = await runProgram('sh', ['-c', here], {
      cwd: this.at(stage, folder),
      limit: 240_000,
    })
    assert.equal(code, 0, `${stage}: ${command}\n${stdout}${stderr}`)
  }
}

describe('the image', () => {
  it('its steps run, and what they make works as process 1', { timeout: 600_000 }, async (t) => {
    if (!LONG) return notRun(t, 'installs packages three times: npm run test:long')
    const unshare = findProgram('unshare')
    if (unshare === null) return notRun(t, 'needs unshare, for a process 1')
    const build = new Build()
    for (const stage of stages) await build.run(stage)
    const postgres = await getPostgres()
    const [port, admin] = [await freePort(), await freePort()]
    const [command] = stepsOf('ENTRYPOINT').map(
      (rest) => JSON.parse(build.translated('image', rest)) as string[],
    )
    const [args] = stepsOf('CMD').map((rest) => JSON.parse(rest) as string[])
    const env = { PGMUX_LISTEN_PORT: `${port}`, PGMUX_ADMIN_PORT: `${admin}`, PGMUX_SERVERLESS_HOST: 'off' }
    const before = Date.now()
    const child: ChildProcess = spawn(
      unshare,
      ['--pid', '--fork', '--mount-proc', process.execPath, ...command!.slice(1), ...args!],
      {
        cwd: build.at('image', 'var/lib/pgmux'),
        env: { ...process.env, ...env, NODE_ENV: 'production', DATABASE_URL: postgres.url },
        stdio: ['ignore', 'pipe', 'inherit'],
      },
    )
    after(() => child.kill('SIGKILL'))
    const exited = once(child, 'exit')
    let said = ''
    child.stdout!.on('data', (piece: Buffer) => {
      said += piece.toString()
    })
    await until(
      () => said.includes('pgmux connect: ') || child.exitCode !== null,
      () => `it does not start: ${said}`,
    )
    const client = await WireClient.connect({
      host: '127.0.0.1',
      port,
      user: postgres.user,
      password: postgres.password,
      database: postgres.database,
    })
    assert.equal((await client.query('select 1')).error, null)
    const [, check = ''] = /CMD (\[.*\])$/.exec(stepsOf('HEALTHCHECK')[0]!) ?? []
    const health = (JSON.parse(build.translated('image', check)) as string[]).slice(1)
    const healthy = () => runProgram(process.execPath, health, { env })
    assert.equal((await healthy()).code, 0)
    // The process 1 itself, seen from outside.
    const { stdout: inner } = await runProgram('pgrep', ['-P', `${child.pid}`])
    process.kill(Number(inner.trim()), 'SIGTERM')
    const end = (await client.untilClosed()).at(-1)
    assert.equal(end?.type === 'E' && end.code, '57P01')
    assert.deepEqual(await exited, [0, null])
    assert.equal((await healthy()).code, 1)
    const written = await runProgram('find', [
      build.at('image', ''),
      '-type',
      'f',
      '-newermt',
      `@${Math.ceil(before / 1000)}`,
    ])
    assert.equal(written.stdout, '', 'the root can be read-only')
  })
})
