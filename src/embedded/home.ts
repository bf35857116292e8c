// Owns the folder of an embedded Postgres: where it lies, who owns it, what is in it.
//   <home>/data      Postgres' own data folder
//   <home>/password  password of the account postgres (0600)
//   <home>/owner     process numbers of the pgmux and the Postgres that use it now
// Must never start Postgres, and never remove a folder that holds kept data.
import { createHash, randomBytes } from 'node:crypto'
import { constants } from 'node:fs'
import {
  chmod,
  lchown,
  lstat,
  mkdir,
  mkdtemp,
  readdir,
  readFile,
  rm,
  stat,
  writeFile,
} from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { basename, dirname, join, resolve } from 'node:path'
import { type Account, canReach, chooseAccount, EmbeddedError } from './account.ts'

/** Folder of root's, for what an unprivileged account cannot reach elsewhere. */
export const SHELTER = '/var/lib/pgmux'

/** Name of each temporary folder; what a killed process left is found by it. */
export const TEMPORARY = 'pgmux-postgres-'

/** A folder made ready for Postgres. */
export interface Home {
  dir: string
  /** Account that Postgres runs under; null: our own. */
  account: Account | null
  /** False where an earlier start has left data here. */
  fresh: boolean
}

/** @returns a path inside a home. */
export function inside(dir: string, name: 'data' | 'password' | 'owner'): string {
  return join(dir, name)
}

/**
 * Makes the folder ready in which data are kept between starts.
 * @param dataDir as configured; where root's Postgres account cannot reach it, a folder in `shelter` instead
 * @throws EmbeddedError where the folder cannot be used
 */
export async function keptHome(dataDir: string, shelter: string): Promise<Home> {
  const wanted = resolve(dataDir)
  const account = await chooseAccount(await ownerOf(wanted))
  await mkdir(dirname(wanted), { recursive: true }).catch((cause) => refuse(wanted, cause))
  if (await canReach(dirname(wanted), account, constants.X_OK)) return useHome(wanted, account)
  await makeShelter(shelter)
  const mark = createHash('sha256').update(wanted).digest('hex').slice(0, 12)
  const moved = join(shelter, `${basename(wanted)}-${mark}`)
  return useHome(moved, await chooseAccount(await ownerOf(moved)))
}

/** Makes a folder that lives as long as its Postgres. */
export async function temporaryHome(): Promise<Home> {
  const account = await chooseAccount(null)
  return useHome(await mkdtemp(join(await temporaryRoot(account), TEMPORARY)), account)
}

/** @returns the system's folder for temporary files that `account` can reach. */
export async function temporaryRoot(account: Account | null): Promise<string> {
  return (await canReach(tmpdir(), account, constants.X_OK)) ? tmpdir() : '/tmp'
}

/**
 * Makes sure of a folder that root alone can write: others could fill theirs beforehand.
 * @throws EmbeddedError where it is not such a folder
 */
export async function makeShelter(shelter: string): Promise<void> {
  await mkdir(shelter, { recursive: true, mode: 0o755 }).catch((cause) => refuse(shelter, cause))
  const facts = await lstat(shelter)
  if (!facts.isDirectory() || facts.uid !== process.getuid?.() || facts.mode & 0o022) {
    throw new EmbeddedError(
      `${shelter} must be a folder that root owns and only root can write: correct or remove it`,
    )
  }
  await chmod(shelter, 0o755)
}

/** Gives a file or folder, never what a link points to, to the account that Postgres runs under. */
export async function handOver(path: string, account: Account | null): Promise<void> {
  if (account) await lchown(path, account.uid, account.gid)
}

/**
 * @returns the password of a home; a fresh home gets a new one
 * @throws EmbeddedError where data are there and the password is not
 */
export async function passwordOf(home: Home): Promise<string> {
  const file = inside(home.dir, 'password')
  if (home.fresh) {
    await rm(file, { force: true })
    await writeFile(file, `${randomBytes(24).toString('base64url')}\n`, { mode: 0o600, flag: 'wx' })
    await handOver(file, home.account)
  }
  const text = await readFile(file, 'utf8').catch(() => '')
  if (text.trim()) return text.trim()
  throw new EmbeddedError(
    `the password of the data in ${home.dir} is gone (${file}): put it back, or remove ` +
      `${home.dir} to start afresh`,
  )
}

async function useHome(dir: string, account: Account | null): Promise<Home> {
  try {
    await mkdir(dir, { recursive: true, mode: 0o700 })
    const entries = await readdir(dir)
    const fresh = !entries.includes('data')
    if (fresh) await takeOver(dir, entries, account)
    return { dir, account, fresh }
  } catch (cause) {
    return refuse(dir, cause as NodeJS.ErrnoException)
  }
}

async function takeOver(dir: string, entries: string[], account: Account | null): Promise<void> {
  const strange = entries.find((name) => !/^(password|owner|data\.[0-9a-f]+)$/.test(name))
  if (strange !== undefined) {
    const what = entries.includes('PG_VERSION')
      ? 'is a Postgres data folder that pgmux did not make'
      : 'is not empty'
    throw new EmbeddedError(
      `${dir} ${what} (it holds ${strange}): name an empty or new folder for the embedded Postgres, ` +
        'or name your own Postgres with --upstream',
    )
  }
  // What an initdb has left that was killed.
  for (const name of entries) {
    if (name.startsWith('data.')) await rm(join(dir, name), { recursive: true, force: true })
  }
  await handOver(dir, account)
}

async function ownerOf(dir: string): Promise<number | null> {
  const facts = await stat(inside(dir, 'data')).catch(() => null)
  return facts ? facts.uid : null
}

function refuse(dir: string, cause: NodeJS.ErrnoException): never {
  if (cause instanceof EmbeddedError) throw cause
  throw new EmbeddedError(
    `cannot use the folder ${dir} for the embedded Postgres (${cause.code ?? cause.message}): ` +
      'make it writable, name another folder, or name your own Postgres with --upstream',
  )
}
