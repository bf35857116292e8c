// The long run: pgmux as a process of its own, applications that check each answer, a fault each minute, and
// in a lull behind it a recount. Not a part of `npm test`: `npm run test:soak`, by SOAK_MINUTES (120) and
// SEED; SOAK_FAULTS=hold,reload takes only these. Must never go on after the first thing that is wrong.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { setTimeout as pause } from 'node:timers/promises'
import { NO_OPENSSL } from '../support/authority.ts'
import { Prng } from '../support/prng.ts'
import { Crowd } from './crowd.ts'
import { Certificates, type Fault, FAULTS, type Stage } from './faults.ts'
import { inMib, rise, SAMPLES_MIN } from './flat.ts'
import { Interrupted } from './guarded.ts'
import { Recount, type Sample } from './recount.ts'
import { Subject } from './subject.ts'
import { type Mode, World } from './world.ts'

const MINUTES = Number(process.env.SOAK_MINUTES || 120)
const SEED = Number(process.env.SEED || Math.floor(Math.random() * 1_000_000))
const ONLY = process.env.SOAK_FAULTS?.split(',')
const MINUTE_MS = 60_000
/** Work before the fault of a minute. */
const BEFORE_MS = 8000
/** What a minute's check needs at its end. */
const LULL_MS = 6000
/** A fresh client of each database is served within this time after each fault. */
const SERVED_MS = 10_000

assert.ok(MINUTES > 0, 'SOAK_MINUTES is a number of minutes')

/** Each fault once in a seeded order, then in another one. */
function* faults(random: Prng): Generator<Fault> {
  const chosen = FAULTS.filter(({ name }) => ONLY === undefined || ONLY.includes(name.replaceAll(' ', '-')))
  assert.ok(chosen.length > 0, `no such fault; there are ${FAULTS.map(({ name }) => name).join(', ')}`)
  for (;;) yield* random.shuffle(chosen)
}

/** @throws where a fresh client of this database is not served in time */
async function served({ world, crowd }: Stage, mode: Mode, since: number): Promise<void> {
  for (;;) {
    try {
      await using client = await crowd.doors.enter(world.target(mode))
      assert.deepEqual((await client.query("select 'served'")).rows, [['served']])
      await client.end()
      const took = Math.round(performance.now() - since)
      assert.ok(took <= SERVED_MS, `a fresh client in ${mode} mode was served ${took} ms after the fault`)
      return
    } catch (error) {
      if (!(error instanceof Interrupted)) throw error
      crowd.note(error, `a fresh client in ${mode} mode`)
      assert.ok(performance.now() - since < SERVED_MS, `no fresh client in ${mode} mode is served: ${error}`)
      await pause(100)
    }
  }
}

/** One minute: work, a fault, work, a lull in which everything is counted again. */
async function minute(stage: Stage, fault: Fault, recount: Recount): Promise<Sample> {
  const { crowd, world } = stage
  const until = performance.now() + MINUTE_MS
  await pause(BEFORE_MS)
  crowd.allow(fault.allowed)
  await fault.run(stage)
  const since = performance.now()
  await Promise.all(world.places.map(({ mode }) => served(stage, mode, since)))
  await crowd.round()
  crowd.allow([])
  await pause(Math.max(0, until - LULL_MS - performance.now()))
  await crowd.lull()
  world.proxy.forget()
  const sample = await recount.check()
  crowd.resume()
  return sample
}

/** All of it. @returns the samples of each minute */
async function run(stage: Stage): Promise<Sample[]> {
  const { crowd } = stage
  const samples: Sample[] = []
  const recount = new Recount(stage.world, stage.subject, crowd)
  const order = faults(stage.random.fork())
  let exchanges = 0
  for (let number = 1; number <= MINUTES; number++) {
    const fault = order.next().value as Fault
    const sample = await Promise.race([minute(stage, fault, recount), crowd.failed]).catch((cause: Error) => {
      const again = `SEED=${SEED} SOAK_MINUTES=${MINUTES}`
      throw new Error(`${again}: minute ${number}, fault "${fault.name}": ${cause.message}`, { cause })
    })
    samples.push(sample)
    const cells = [
      `minute ${String(number).padStart(3)}`,
      fault.name.padEnd(16),
      `${crowd.exchanges - exchanges} exchanges`.padStart(16),
      `rss ${inMib(sample.rss)}  heap ${inMib(sample.heap)}  fds ${sample.files}`,
      `errors ${crowd.takeErrors()}`,
    ]
    console.log(cells.join('  '))
    exchanges = crowd.exchanges
  }
  return samples
}

/** What is left of a run that has ended, in whatever way. */
async function tidyUp(world: World, subject: Subject | null, crowd: Crowd | null): Promise<void> {
  crowd?.abort()
  await subject?.stop()
  await world.stop()
}

test(`${MINUTES} minutes of faults, seed ${SEED}`, async () => {
  assert.equal(NO_OPENSSL, '')
  const world = await World.create()
  const certificates = new Certificates()
  let subject: Subject | null = null
  let crowd: Crowd | null = null
  try {
    subject = await Subject.start((folder) => {
      certificates.next(folder)
      return world.settings(folder)
    })
    world.port = subject.port
    const random = new Prng(SEED)
    crowd = new Crowd(world, random.fork())
    crowd.start()
    const samples = await run({ world, subject, crowd, random, certificates })
    await crowd.stop()
    assert.equal(await subject.stop(), 0, 'it stops in order')
    assert.deepEqual(subject.bad, [])
    const done = `${crowd.exchanges} exchanges, ${crowd.doors.logins} logins, ${samples.length} faults`
    console.log(`${done}, seed ${SEED}`)
    if (samples.length < SAMPLES_MIN) console.log(`memory is judged from ${SAMPLES_MIN} minutes on`)
    for (const name of ['rss', 'heap'] as const) assert.equal(rise(samples.map((one) => one[name])), '', name)
  } catch (error) {
    console.log(error)
    await world.tellState().catch((cause: Error) => console.log(`the console: ${cause.message}`))
    throw error
  } finally {
    await tidyUp(world, subject, crowd)
  }
})
