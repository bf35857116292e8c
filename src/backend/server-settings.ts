// Keeps the settings of a server and of its client in step: at the beginning of a lease the server's become
// the client's, in front of the client's messages; what Postgres reports during it becomes the client's. It
// owns nothing.
import type { Lessee } from '../pool/lease.ts'
import { Fate } from '../pool/replies.ts'
import { type Change, isCarried, type Settings } from '../session/settings.ts'
import { Touch } from '../sql/effects.ts'
import { errorResponse } from '../wire/error-response.ts'
import { Status } from '../wire/protocol.ts'
import { internalExchange, SETTINGS_DIFF, writeDiff } from './internal.ts'
import { bringSetup, writeReset } from './reset.ts'
import { bringSequences } from './sequences.ts'
import type { Server } from './server.ts'
import { closeNames } from './sql-prepared.ts'
import type { Talk } from './talk.ts'

/** Writes the settings diff, if there is a difference. What follows it fails if it does (RULES 1). */
export function bringSettings(server: Server, lessee: Lessee): void {
  const { talk } = server
  const wanted = lessee.session.settings
  const isOnce = lessee.session.once !== null
  const isReset = (isOnce || isTainted(talk, lessee)) && cleanFirst(server)
  // A session of one request has no statements with names, and so needs none of ours.
  if (!isOnce) bringSetup(talk, server.out)
  if (!isReset) closeNames(talk, server.out, lessee.session)
  if (!lessee.isProbe) talk.isClean = false
  if (!isReset) bringSequences(server, lessee.session, server.parts.insight)
  const present = isReset ? talk.loginSettings : talk.settings
  if (wanted === present || present === null) return
  const changes = wanted.changesFrom(present)
  if (changes.length === 0) {
    lessee.session.settings = present
    return
  }
  const diff = internalExchange(SETTINGS_DIFF, true, (status, exchange) => {
    const { settings } = talk
    if (exchange.error !== null || status !== Status.Idle || settings === null) return
    const now = withUnreported(talk, settings, changes)
    talk.settings = now
    // Somebody has put another statement in the place of ours: nothing on this server can be believed.
    if (!lessee.isProbe && !hasAll(now, changes)) exchange.error = NOT_SET
    // Where Postgres spells a value otherwise, its spelling is the client's from now on.
    else if (server.lessee === lessee) lessee.session.settings = now
  })
  bringSetup(talk, server.out)
  writeDiff(talk, server.out, changes, diff)
}

/** Somebody else's statements may have left there what nobody has seen (RULES 9). */
function isTainted({ taintedBy }: Talk, { session }: Lessee): boolean {
  return taintedBy !== null && taintedBy !== session
}

/** What was set, and Postgres does not report. */
function withUnreported(talk: Talk, settings: Settings, changes: readonly Change[]): Settings {
  let now = settings
  for (const [name, value] of changes) {
    if (talk.reported.has(name)) continue
    now = value === null ? now.without(name) : now.with(name, value)
  }
  return now
}

/**
 * Whoever comes for one request must not find what a session in transaction mode has left: settings that
 * Postgres does not report, say. @returns whether the server goes back to the settings of its login
 */
function cleanFirst(server: Server): boolean {
  const { talk } = server
  if (talk.isClean) return false
  talk.isResetting = true
  writeReset(server, (isDone) => {
    talk.isResetting = talk.isClean = false
    if (!isDone) server.close('the reset of a session failed')
  })
  return true
}

const NOT_SET = errorResponse({
  severity: 'ERROR',
  code: '08006',
  message: 'the settings of the session could not be brought to a server',
  detail:
    'The statement may have been executed with other settings; the connection to that server was closed.',
})

/** Values that were to be reset to a default are not known here. */
function hasAll(settings: Settings, changes: readonly Change[]): boolean {
  for (const [name, value] of changes) if (value !== null && !hasValue(settings, name, value)) return false
  return true
}

/**
 * Since Postgres 16 a byte of a name that is no ASCII becomes four, and the name is cut only before that: the
 * value that it tells is cut when it is set again.
 */
function hasValue(settings: Settings, name: string, value: string): boolean {
  const found = settings.values.get(name)
  if (found === value) return true
  return name === 'application_name' && found !== undefined && found !== '' && value.startsWith(found)
}

/** Postgres reported a parameter. */
export function takeSetting(server: Server, name: string, value: string): void {
  const { talk, lessee } = server
  const { owner } = server.parts
  const ours = Fate.Internal | Fate.Swallow
  const isClients = lessee !== null && talk.replies.size > 0 && (talk.replies.head & ours) === 0
  if (!isCarried(name)) {
    // Who it is, is not the server's own: it is read back.
    if (name === 'session_authorization' || name === 'is_superuser') {
      if (isClients && server.parts.route.mode !== 'session') talk.touched |= Touch.Settings
    } else owner.onFact(name, value)
    return
  }
  if (talk.settings === null) return
  talk.settings = talk.settings.with(name, value)
  if (isClients) {
    lessee.session.changed(talk.settings, name)
  } else if (talk.replies.size === 0) {
    // Nothing was asked: the default itself has changed (a reload of Postgres), for every client without a
    // value of its own (RULES 6).
    owner.onDefault(server.baseline, name, value)
  }
}

/** Postgres reported a parameter that nothing can have changed which it was asked for (RULES 6). */
export function takeDefault(server: Server, name: string, value: string): void {
  const { talk } = server
  const { owner } = server.parts
  if (!isCarried(name)) owner.onFact(name, value)
  else if (talk.settings !== null) {
    talk.settings = talk.settings.with(name, value)
    owner.onDefault(server.baseline, name, value)
  }
}
