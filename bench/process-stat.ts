// What a process has used, from /proc. It only reads. Where there is no /proc it says null, never 0.
import { execFileSync } from 'node:child_process'
import { readdirSync, readFileSync } from 'node:fs'

/** Microseconds of CPU that a process, its threads and its descendants have used so far. */
export interface CpuTime {
  readonly user: number
  readonly system: number
}

/** @returns ticks of the four counters in a line of /proc/<pid>/stat: of the process, of its ended children. */
export function parseStat(line: string): { user: number; system: number } {
  // The name stands in parentheses and may hold spaces and parentheses of its own.
  const fields = line
    .slice(line.lastIndexOf(')') + 2)
    .split(' ')
    .map(Number)
  return { user: fields[11]! + fields[13]!, system: fields[12]! + fields[14]! }
}

let microsPerTick = 0

function tickLength(): number {
  if (microsPerTick === 0) {
    microsPerTick = 1e6 / Number(execFileSync('getconf', ['CLK_TCK'], { encoding: 'utf8' }))
  }
  return microsPerTick
}

/** @returns null where the machine does not tell, or the process has ended. */
export function cpuTimeOf(pid: number): CpuTime | null {
  try {
    let user = 0
    let system = 0
    for (const each of familyOf(pid)) {
      const ticks = parseStat(readFileSync(`/proc/${each}/stat`, 'utf8'))
      user += ticks.user * tickLength()
      system += ticks.system * tickLength()
    }
    return { user, system }
  } catch {
    return null
  }
}

/** @returns KiB: the most memory that the process and its living descendants ever had, each at its own time. */
export function peakMemoryOf(pid: number): number | null {
  try {
    let sum = 0
    for (const each of familyOf(pid)) {
      sum += Number(/^VmHWM:\s+(\d+) kB/m.exec(readFileSync(`/proc/${each}/status`, 'utf8'))![1])
    }
    return sum
  } catch {
    return null
  }
}

function familyOf(pid: number): number[] {
  const family = [pid]
  for (let i = 0; i < family.length; i++) {
    const tasks = `/proc/${family[i]}/task`
    for (const task of readdirSync(tasks)) {
      const children = readFileSync(`${tasks}/${task}/children`, 'utf8').trim()
      if (children !== '') family.push(...children.split(' ').map(Number))
    }
  }
  return family
}
