// Owns the question which account runs Postgres, and what that account can reach. Postgres refuses to run
// as root, so root lends it an unprivileged account that the machine already has.
// Must never create an account, and never start anything.
import { constants } from 'node:fs'
import { readFile, stat } from 'node:fs/promises'
import { dirname } from 'node:path'

/** One line of /etc/passwd. */
export interface Account {
  name: string
  uid: number
  gid: number
}

/** What went wrong with the embedded Postgres: one sentence with a way out, fit to be shown as it is. */
export class EmbeddedError extends Error {
  override name = 'EmbeddedError'
}

/** Accounts that are made for this, best first. */
const PREFERRED = ['postgres', 'nobody', 'daemon', 'www-data']

/** @returns the accounts of a passwd file; lines that are none are left out. */
export function parsePasswd(text: string): Account[] {
  const accounts: Account[] = []
  for (const line of text.split('\n')) {
    const [name, , uid, gid] = line.split(':')
    if (!name || !/^\d+$/.test(uid ?? '') || !/^\d+$/.test(gid ?? '')) continue
    accounts.push({ name, uid: Number(uid), gid: Number(gid) })
  }
  return accounts
}

/** @returns whether this process is root (never on Windows). */
export function isRoot(): boolean {
  return process.getuid?.() === 0
}

/**
 * @param owner the account number that owns the data already there, if any: it stays with its data
 * @returns the account that Postgres has to run under; null: under our own
 * @throws EmbeddedError where root finds no account to lend
 */
export async function chooseAccount(owner: number | null): Promise<Account | null> {
  if (!isRoot()) return null
  const accounts = parsePasswd(await readFile('/etc/passwd', 'utf8').catch(() => ''))
  if (owner !== null && owner !== 0) {
    const keeper = accounts.find((account) => account.uid === owner)
    if (keeper) return keeper
  }
  for (const name of PREFERRED) {
    const account = accounts.find((candidate) => candidate.name === name && candidate.uid !== 0)
    if (account) return account
  }
  throw new EmbeddedError(
    'Postgres refuses to run as root and /etc/passwd has no account postgres, nobody or daemon: ' +
      'start pgmux under an ordinary account, or name your own Postgres with --upstream',
  )
}

/**
 * @param path a file or folder; its parents count too
 * @param bits what is wanted of `path` itself: a sum of fs.constants' R_OK, W_OK, X_OK
 * @returns whether `account` can enter every folder above `path` and has `bits` on it. By mode bits alone:
 *   an access list that forbids or grants more is not seen. Always true for null (our own account).
 */
export async function canReach(path: string, account: Account | null, bits: number): Promise<boolean> {
  if (!account) return true
  if (!(await hasBits(path, account, bits))) return false
  for (let at = path; dirname(at) !== at; at = dirname(at)) {
    if (!(await hasBits(dirname(at), account, constants.X_OK))) return false
  }
  return true
}

async function hasBits(path: string, account: Account, bits: number): Promise<boolean> {
  const facts = await stat(path).catch(() => null)
  if (!facts) return false
  const shift = facts.uid === account.uid ? 6 : facts.gid === account.gid ? 3 : 0
  return ((facts.mode >> shift) & bits) === bits
}
