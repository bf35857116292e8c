// What a process has used, from /proc. It changes nothing but the mark of a peak. Where there is no /proc it
// says null, never 0.
import { existsSync, readdirSync, readFileSync, writeFileSync } from 'node:fs'

/** Microseconds of CPU that a process, its threads and its descendants have used so far. */
export interface CpuTime {
  readonly user: number
  readonly system: number
}

/** @returns ticks in a line of /proc/<pid>/stat: of the process and of its children that have ended */
export function parseStat(line: string): { user: number; system: number } {
  const fields = fieldsOf(line)
  return { user: fields[11]! + fields[13]!, system: fields[12]! + fields[14]! }
}

function fieldsOf(line: string): number[] {
  // The name stands in parentheses and may hold spaces and parentheses of its own.
  return line
    .slice(line.lastIndexOf(')') + 2)
    .split(' ')
    .map(Number)
}

/** What clear_refs takes for the mark of the most memory. */
const RESET_PEAK = '5'

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
  return memoryOf(pid, /^VmHWM:\s+(\d+) kB/m)
}

/** @returns KiB that the process and its living descendants have resident now; null as peakMemoryOf() */
export function residentMemoryOf(pid: number): number | null {
  return memoryOf(pid, /^VmRSS:\s+(\d+) kB/m)
}

function memoryOf(pid: number, field: RegExp): number | null {
  let sum = 0
  for (const status of readFamily(pid, 'status')) sum += Number(field.exec(status)?.[1] ?? 0)
  return sum === 0 ? null : sum
}

/** One text for the process (none if it has ended) and for each descendant. */
function readFamily(pid: number, file: 'stat' | 'status'): string[] {
  // One that ended meanwhile is counted by its parent.
  const texts = familyOf(pid).map((member) => read(`/proc/${member}/${file}`))
  return texts[0] === '' ? [] : texts.filter(Boolean)
}

function familyOf(pid: number): number[] {
  const family = [pid]
  for (const member of family) family.push(...childrenOf(member))
  return family
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

/** @returns what all our children used that have ended by now; null where the machine does not tell */
export function endedChildrenCpu(): CpuTime | null {
  const line = read('/proc/self/stat')
  if (line === '') return null
  const fields = fieldsOf(line)
  return { user: fields[13]! * MICROS_PER_TICK, system: fields[14]! * MICROS_PER_TICK }
}

/**
 * Lets peakMemoryOf() begin anew.
 * @returns false where the machine does not let us (no Linux, or somebody else's process): the peak stays
 *   that of the whole life
 */
export function resetPeakMemory(pid: number): boolean {
  try {
    for (const member of familyOf(pid)) writeFileSync(`/proc/${member}/clear_refs`, RESET_PEAK)
    return true
  } catch {
    return false
  }
}

/** @returns how many files a process of ours may have open; null where the machine does not tell */
export function openFileLimit(): number | null {
  const match = /^Max open files\s+(\d+)/m.exec(read('/proc/self/limits'))
  return match === null ? null : Number(match[1])
}
