// What a process has used, from /proc. It only reads. Where there is no /proc it says null, never 0.
import { existsSync, readdirSync, readFileSync } from 'node:fs'

/** Microseconds of CPU that a process, its threads and its descendants have used so far. */
export interface CpuTime {
  readonly user: number
  readonly system: number
}

/** @returns ticks in a line of /proc/<pid>/stat: of the process and of its children that have ended */
export function parseStat(line: string): { user: number; system: number } {
  // The name stands in parentheses and may hold spaces and parentheses of its own.
  const fields = line
    .slice(line.lastIndexOf(')') + 2)
    .split(' ')
    .map(Number)
  return { user: fields[11]! + fields[13]!, system: fields[12]! + fields[14]! }
}

/** The kernel's USER_HZ is 100 on all systems that Node runs on. */
const MICROS_PER_TICK = 10_000

/** Whether this machine tells what its processes use. */
export function hasProcessFigures(): boolean {
  return existsSync('/proc/self/stat')
}

/** @returns null where the machine does not tell, or the process has ended. */
export function cpuTimeOf(pid: number): CpuTime | null {
  let user = 0
  let system = 0
  const stats = readFamily(pid, 'stat')
  for (const stat of stats) {
    const ticks = parseStat(stat)
    user += ticks.user * MICROS_PER_TICK
    system += ticks.system * MICROS_PER_TICK
  }
  return stats.length === 0 ? null : { user, system }
}

/**
 * @returns KiB: the most memory that the process and its living descendants ever had, each at its own time;
 *   null where the machine does not tell, or the process has ended
 */
export function peakMemoryOf(pid: number): number | null {
  let sum = 0
  for (const status of readFamily(pid, 'status')) sum += Number(/^VmHWM:\s+(\d+) kB/m.exec(status)?.[1] ?? 0)
  return sum === 0 ? null : sum
}

/** One text for the process (none if it has ended) and for each descendant. */
function readFamily(pid: number, file: 'stat' | 'status'): string[] {
  const own = read(`/proc/${pid}/${file}`)
  if (own === '') return []
  const texts = [own]
  const family = [pid]
  for (const member of family) {
    for (const child of childrenOf(member)) {
      // One that ended meanwhile is counted by its parent.
      const text = read(`/proc/${child}/${file}`)
      if (text !== '') texts.push(text)
      family.push(child)
    }
  }
  return texts
}

function childrenOf(pid: number): number[] {
  const tasks = `/proc/${pid}/task`
  try {
    const texts = readdirSync(tasks).map((task) => read(`${tasks}/${task}/children`))
    return texts.join(' ').split(' ').filter(Boolean).map(Number)
  } catch {
    return []
  }
}

/** @returns '' where there is no such file (any more). */
function read(path: string): string {
  try {
    return readFileSync(path, 'utf8')
  } catch {
    return ''
  }
}
