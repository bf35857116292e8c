// Keeps the settings of a server and of its client in step: at the beginning of a lease the server's become
// the client's, in front of the client's messages; what Postgres reports during it becomes the client's. It
// owns nothing.
import type { Lessee } from '../pool/lease.ts'
import { Fate } from '../pool/replies.ts'
import { isCarried } from '../session/settings.ts'
import { Status } from '../wire/protocol.ts'
import { changesBetween, internalExchange, writeDiff } from './internal.ts'
import type { Server } from './server.ts'

/** Writes the settings diff, if there is a difference. What follows it fails if it does (RULES 1). */
export function bringSettings(server: Server, lessee: Lessee): void {
  const { talk } = server
  const wanted = lessee.session.settings
  const present = talk.settings
  if (wanted === present || present === null) return
  const changes = changesBetween(present, wanted)
  if (changes.length === 0) {
    lessee.session.settings = present
    return
  }
  const diff = internalExchange('settings diff', true, (status, { error }) => {
    if (error !== null || status !== Status.Idle || talk.settings === null) return
    // Where Postgres spells a value otherwise, its spelling is the client's from now on.
    if (server.lessee === lessee) lessee.session.settings = talk.settings
  })
  writeDiff(talk, server.out, changes, diff)
}

/** Postgres reported a parameter. */
export function takeSetting(server: Server, name: string, value: string): void {
  const { talk, lessee } = server
  const { owner } = server.parts
  if (!isCarried(name)) {
    owner.onFact(name, value)
    return
  }
  if (talk.settings === null) return
  talk.settings = talk.settings.with(name, value)
  const ours = Fate.Internal | Fate.Swallow
  if (lessee !== null && talk.replies.size > 0 && (talk.replies.head & ours) === 0) {
    lessee.session.changed(talk.settings, name)
  } else if (talk.replies.size === 0) {
    // Nothing was asked: the default itself has changed (a reload of Postgres), for every client without a
    // value of its own (RULES 6).
    owner.onDefault(server.baseline, name, value)
  }
}
