// What is the same for many requests and is worked out once: connection strings, startup parameters, the
// settings that they stand for. It owns these tables; each has an end. They hold passwords, and are shown
// to nobody.
import type { PoolAccess, Welcome } from '../../frontend/types.ts'
import { type StartupWishes, wishesOfRequest } from '../../session/baseline.ts'
import type { Settings } from '../../session/settings.ts'
import { parseConnectionString, type Target } from './connection-string.ts'

const TARGETS_MAX = 1000
/** What is longer, or says more, is read each time: strangers can send what is kept here. */
const TEXT_MAX = 1024
const PARAMETERS_MAX = 16
const targets = new Map<string, Target>()

/** @throws RequestError with status 400 */
export function targetOf(text: string): Target {
  const known = targets.get(text)
  if (known !== undefined) return known
  const target = parseConnectionString(text)
  if (text.length > TEXT_MAX || target.parameters.size > PARAMETERS_MAX) return target
  if (targets.size >= TARGETS_MAX) targets.clear()
  targets.set(text, target)
  return target
}

const startups = new WeakMap<ReadonlyMap<string, string>, Map<string, StartupWishes>>()

/** The parameters of a connection string as startup parameters. */
export function startupOf(parameters: Target['parameters'], mode: PoolAccess['mode']): StartupWishes {
  let byMode = startups.get(parameters)
  if (byMode === undefined) {
    byMode = new Map()
    startups.set(parameters, byMode)
  }
  let wishes = byMode.get(mode)
  if (wishes === undefined) {
    wishes = wishesOfRequest(parameters, mode)
    byMode.set(mode, wishes)
  }
  return wishes
}

interface Settled {
  readonly welcome: Welcome
  readonly settings: Settings
}

const settled = new WeakMap<PoolAccess, WeakMap<StartupWishes, Settled>>()

/**
 * The settings that such parameters stand for; null: they have to be asked for, for the first time or
 * since Postgres tells something else now.
 */
export function settledBefore(access: PoolAccess, wishes: StartupWishes): Settings | null {
  const found = settled.get(access)?.get(wishes)
  return found !== undefined && access.welcome(wishes.baseline) === found.welcome ? found.settings : null
}

/** They are known now. */
export function settledNow(access: PoolAccess, wishes: StartupWishes, found: Settled): void {
  let byWishes = settled.get(access)
  if (byWishes === undefined) {
    byWishes = new WeakMap()
    settled.set(access, byWishes)
  }
  byWishes.set(wishes, found)
}
