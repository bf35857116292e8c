// Owns what an earlier process left behind: a Postgres that outlived a pgmux killed with SIGKILL, a stale
// postmaster.pid, temporary folders. Postgres cannot notice that we are gone, so the next start looks.
// Must never signal a process that is not, for certain, the Postgres of the folder in hand.
import { execFile } from 'node:child_process'
import { lstat, readdir, readFile, readlink, realpath, rm, writeFile } from 'node:fs/promises'
import { basename, dirname, join } from 'node:path'
import { setTimeout as pause } from 'node:timers/promises'
import { promisify } from 'node:util'
import { type Account, EmbeddedError } from './account.ts'
import { handOver, inside, TEMPORARY, temporaryRoot } from './home.ts'

/** How long an orphan may take to stop, in ms. */
const ORPHAN_LIMIT = 30_000

/** Notes who uses a home now, so that a later start can tell an orphan from a neighbour. */
export async function noteOwner(dir: string, postgres: number, account: Account | null): Promise<void> {
  const file = inside(dir, 'owner')
  await rm(file, { force: true })
  await writeFile(file, `${process.pid} ${postgres}\n`, { mode: 0o600, flag: 'wx' })
  await handOver(file, account)
}

/**
 * Makes a home free to be started: stops the Postgres that a dead pgmux left there, removes a stale
 * postmaster.pid.
 * @throws EmbeddedError where a living pgmux, or somebody else, uses the data
 */
export async function reclaim(dir: string, account: Account | null): Promise<void> {
  const data = inside(dir, 'data')
  const file = join(data, 'postmaster.pid')
  const [line, , , , socketDir] = (await readFile(file, 'utf8').catch(() => '')).split('\n')
  const pid = Number(line)
  if (!Number.isInteger(pid) || pid <= 1) return
  const found = await postmaster(pid, data)
  if (found === null) {
    // The number may belong to somebody else by now (after a restart of the container, say), which Postgres
    // would take for itself. Backends that are still alive are found by Postgres through shared memory.
    await rm(file, { force: true })
  } else {
    const [ours, theirs] = (await readFile(inside(dir, 'owner'), 'utf8').catch(() => ''))
      .split(' ')
      .map(Number)
    if (theirs !== pid || found.parent === ours) {
      const user = theirs === pid ? `pgmux, process ${ours}` : `Postgres, process ${pid}`
      throw new EmbeddedError(
        `the data folder ${dir} is in use by another ${user}: stop it, or name another folder`,
      )
    }
    await stopOrphan(pid, data)
  }
  if (
    socketDir &&
    dirname(socketDir) === (await temporaryRoot(account)) &&
    basename(socketDir).startsWith(TEMPORARY)
  ) {
    await rm(socketDir, { recursive: true, force: true })
  }
}

/** Removes the temporary folders of processes that are gone. What cannot be removed stays. */
export async function sweep(account: Account | null): Promise<void> {
  const root = await temporaryRoot(account)
  const mine = account?.uid ?? process.getuid?.()
  for (const name of await readdir(root).catch(() => [])) {
    if (!name.startsWith(TEMPORARY)) continue
    const dir = join(root, name)
    const facts = await lstat(dir).catch(() => null)
    if (!facts?.isDirectory() || facts.uid !== mine) continue
    const owner = await readFile(inside(dir, 'owner'), 'utf8').catch(() => '')
    if (!owner || isAlive(Number(owner.split(' ')[0]))) continue
    try {
      await reclaim(dir, account)
      await rm(dir, { recursive: true, force: true })
    } catch {
      // Not ours to remove, or in use after all.
    }
  }
}

/** @returns whether a process of that number exists. */
function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0)
    return true
  } catch (cause) {
    return (cause as NodeJS.ErrnoException).code === 'EPERM'
  }
}

/** @returns the parent of process `pid` if it is the Postgres of folder `data`; null: it is not. */
async function postmaster(pid: number, data: string): Promise<{ parent: number } | null> {
  if (!isAlive(pid)) return null
  const real = await realpath(data)
  if (process.platform === 'linux') {
    // Postgres works inside its data folder.
    const cwd = await readlink(`/proc/${pid}/cwd`).catch(() => '')
    const status = await readFile(`/proc/${pid}/stat`, 'utf8').catch(() => '')
    const [, parent] = status.slice(status.lastIndexOf(')') + 2).split(' ')
    return cwd === real && parent ? { parent: Number(parent) } : null
  }
  // Windows has no ps: there each living process counts as a neighbour.
  if (process.platform === 'win32') return { parent: -1 }
  const ps = await promisify(execFile)('ps', ['-o', 'ppid=,args=', '-p', String(pid)]).catch(() => ({
    stdout: '',
  }))
  const row = /^\s*(\d+)\s+(.*)$/s.exec(ps.stdout)
  return row && (row[2].includes(data) || row[2].includes(real)) ? { parent: Number(row[1]) } : null
}

async function stopOrphan(pid: number, data: string): Promise<void> {
  process.kill(pid, 'SIGINT')
  // Not our child, so that no event tells of its end.
  for (let waited = 0; waited < ORPHAN_LIMIT; waited += 20) {
    if (!(await postmaster(pid, data))) return
    await pause(20)
  }
  throw new EmbeddedError(
    `a Postgres (process ${pid}) that an earlier pgmux left in ${data} does not stop: end that process ` +
      'and start again',
  )
}
