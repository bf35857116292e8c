// One instance after another on the same port, and Postgres restarted behind a pause, while many clients
// work: no transaction is cut, nothing that was asked for is lost or done twice; at most a client connects
// again.
import assert from 'node:assert/strict'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, describe, it } from 'node:test'
import { createPooler } from '../../src/index.ts'
import { direct } from '../support/compare.ts'
import { logTo } from '../support/pooler.ts'
import { getPostgres, notRun } from '../support/postgres.ts'
import { freePort, Program } from '../support/program.ts'
import { until } from '../support/waits.ts'
import { LoginError, WireClient } from '../support/wire-client.ts'

const CLIENTS = 200
const postgres = await getPostgres()
await postgres.admin('create table ledger (who int, job int, step int, primary key (who, job, step))')
const folder = mkdtempSync(join(tmpdir(), 'pgmux-handover-'))
after(() => rmSync(folder, { recursive: true, force: true }))

/** While a program starts on a port, it refuses, or the one before says goodbye. */
function isNobodyThere(error: unknown): boolean {
  const { code = '' } = error as { code?: string }
  return code === 'ECONNREFUSED' || code === 'ECONNRESET' || (error instanceof LoginError && code === '57P03')
}

/** A client that writes down jobs: odd ones in a transaction of two, even ones by themselves. */
class Worker {
  readonly #number: number
  readonly #port: number
  jobs = 0
  connects = 0
  isOver = false

  constructor(number: number, port: number) {
    this.#number = number
    this.#port = port
  }

  async work(): Promise<void> {
    let client = await this.#connect()
    while (!this.isOver) {
      if (await this.#job(client)) this.jobs++
      else client = await this.#connect()
    }
    await client.end()
  }

  async #connect(): Promise<WireClient> {
    for (;;) {
      try {
        const client = await WireClient.connect({ ...direct(postgres), host: '127.0.0.1', port: this.#port })
        this.connects++
        return client
      } catch (error) {
        if (!isNobodyThere(error)) throw error
        await new Promise((resolve) => setTimeout(resolve, 20))
      }
    }
  }

  /** @returns false where the client was sent away before anything was done. @throws for all else */
  async #job(client: WireClient): Promise<boolean> {
    const insert = (step: number): string =>
      `insert into ledger values (${this.#number}, ${this.jobs}, ${step})`
    const statements = this.jobs % 2 === 0 ? [insert(0)] : ['begin', insert(0), insert(1), 'commit']
    for (const [i, statement] of statements.entries()) {
      try {
        const { error } = await client.query(statement)
        if (error !== null)
          throw new Error(`client ${this.#number}, ${statement}: ${error.code} ${error.message}`)
      } catch (error) {
        const last = client.received.at(-1)
        // In a transaction nobody may be sent away; before it, only in these words.
        if (i === 0 && last?.type === 'E' && last.code === '57P01') return false
        throw error
      }
    }
    return true
  }

  /** Rows that must be there, and no other. */
  get rows(): string[] {
    return Array.from({ length: this.jobs }, (_, job) =>
      job % 2 === 0 ? [`${this.#number}:${job}:0`] : [`${this.#number}:${job}:0`, `${this.#number}:${job}:1`],
    ).flat()
  }
}

/** Runs `act` while so many clients work, each for at least three jobs before and behind it. */
async function underLoad(count: number, port: number, act: () => Promise<void>): Promise<Worker[]> {
  await postgres.admin('truncate ledger')
  const workers = Array.from({ length: count }, (_, number) => new Worker(number, port))
  const working = Promise.all(workers.map((worker) => worker.work()))
  const allHave = async (more: number): Promise<void> => {
    const wanted = workers.map(({ jobs }) => jobs + more)
    const done = until(
      () => workers.every(({ jobs }, i) => jobs >= wanted[i]!),
      () => `${workers.filter(({ jobs }, i) => jobs < wanted[i]!).length} clients have not gone on`,
      40_000,
    )
    await Promise.race([done, working])
  }
  try {
    await allHave(3)
    await act()
    await allHave(3)
  } finally {
    for (const worker of workers) worker.isOver = true
  }
  await working
  const rows = await postgres.admin("select format('%s:%s:%s', who, job, step) as row from ledger")
  assert.deepEqual(rows.map(({ row }) => String(row)).sort(), workers.flatMap((worker) => worker.rows).sort())
  return workers
}

const start = (port: number, ...args: string[]): Promise<Program> =>
  Program.start(
    ['--upstream', postgres.url, '--pool-size', '10', '--listen', `127.0.0.1:${port}`, ...args],
    postgres.password,
  )

describe('SIGTERM under load', () => {
  it(`${CLIENTS} clients: a second instance on the same port takes over`, { timeout: 120_000 }, async () => {
    const port = await freePort()
    const first = await start(port)
    let isStillThere = true
    void first.exit.then(() => {
      isStillThere = false
    })
    const workers = await underLoad(CLIENTS, port, async () => {
      first.child.kill('SIGTERM')
      await until(
        () =>
          WireClient.open({ host: '127.0.0.1', port }).then(
            (probe) => probe.end().then(() => false),
            () => true,
          ),
        () => 'the first instance still takes connections',
      )
      await start(port)
    })
    assert.equal(await first.exit, 0)
    assert.equal(isStillThere, false)
    for (const { connects } of workers) assert.equal(connects, 2)
  })

  it('readiness falls first: for shutdown.delay clients still get in', async () => {
    const config = join(folder, 'delay.yaml')
    writeFileSync(config, 'shutdown: { delay: 1500ms }\n')
    const [port, admin] = [await freePort(), await freePort()]
    const program = await start(port, '--config', config, '--admin', `127.0.0.1:${admin}`)
    const ready = async (): Promise<number> => (await fetch(`http://127.0.0.1:${admin}/readyz`)).status
    assert.equal(await ready(), 200)
    const idle = await program.client()
    program.child.kill('SIGTERM')
    await until(
      async () => (await ready()) === 503,
      () => '/readyz still says 200',
    )
    const late = await program.client()
    assert.equal((await late.query('select 1')).error, null)
    for (const client of [idle, late]) {
      const end = (await client.untilClosed()).at(-1)
      assert.equal(end?.type === 'E' && end.code, '57P01')
    }
    assert.equal(await program.exit, 0)
  })
})

describe('pause, restart of Postgres, resume', () => {
  it('clients only wait', { timeout: 120_000 }, async (t) => {
    const { control } = postgres
    if (control === null) return notRun(t, postgres.missing)
    const pooler = await createPooler({
      flags: {
        upstream: postgres.url,
        listen: '127.0.0.1:0',
        admin: 'off',
        serverless: 'off',
        poolSize: '10',
      },
      env: {},
      log: logTo([], {}),
    })
    t.after(() => pooler.drain(0))
    const workers = await underLoad(CLIENTS / 2, pooler.addresses.postgres.port, async () => {
      pooler.pause()
      await until(
        () => Object.values(pooler.gauges().servers).every((count) => count === 0),
        () => `servers: ${JSON.stringify(pooler.gauges().servers)}`,
      )
      await control.stopFast()
      await control.start()
      pooler.resume()
    })
    for (const { connects } of workers) assert.equal(connects, 1)
  })
})
