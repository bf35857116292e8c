// Reads a CPU profile of V8: which functions had the processor while the load ran. Pure.
import { fileURLToPath } from 'node:url'

/** The parts of a .cpuprofile that are used. Times are in microseconds of the machine's monotonic clock. */
export interface CpuProfile {
  readonly startTime: number
  readonly nodes: readonly {
    readonly id: number
    readonly callFrame: { readonly functionName: string; readonly url: string; readonly lineNumber: number }
  }[]
  readonly samples: readonly number[]
  readonly timeDeltas: readonly number[]
}

/** A stretch of the same clock, in microseconds. */
export interface Stretch {
  readonly from: number
  readonly to: number
}

export interface TopFunction {
  readonly name: string
  /** `src/wire/framer.ts:87`, or '' for V8's own. */
  readonly place: string
  /** Of the samples in which the thread was not idle, without the functions it called. */
  readonly share: number
}

const ROOT = new URL('..', import.meta.url).href
/** What V8 calls the time in which nothing was to be done. */
const IDLE = '(idle)'

/** @returns now on the clock of CPU profiles, in microseconds */
export function profileClock(): number {
  return Number(process.hrtime.bigint() / 1000n)
}

/**
 * Counts samples, not the time between them: on a busy machine that is mostly time in which another process
 * had the processor.
 * @param stretch only samples in it count: not the start and the end of the program
 * @returns the functions with the greatest share of their own first; none if no sample lies in the stretch
 */
export function topFunctions(profile: CpuProfile, stretch: Stretch, count: number): TopFunction[] {
  const frames = new Map(profile.nodes.map((node) => [node.id, node.callFrame]))
  const found = new Map<string, { name: string; place: string; samples: number }>()
  let at = profile.startTime
  let busy = 0
  for (const [i, id] of profile.samples.entries()) {
    at += profile.timeDeltas[i]!
    const { functionName, url, lineNumber } = frames.get(id)!
    if (at < stretch.from || at > stretch.to || functionName === IDLE) continue
    const place = url === '' ? '' : `${shortened(url)}:${lineNumber + 1}`
    const key = `${functionName} ${place}`
    const entry = found.get(key) ?? { name: functionName || '(anonymous)', place, samples: 0 }
    entry.samples++
    busy++
    found.set(key, entry)
  }
  const sorted = [...found.values()].sort((a, b) => b.samples - a.samples).slice(0, count)
  return sorted.map(({ name, place, samples }) => ({ name, place, share: samples / busy }))
}

function shortened(url: string): string {
  if (url.startsWith(ROOT)) return url.slice(ROOT.length)
  return url.startsWith('file:') ? fileURLToPath(url) : url
}
