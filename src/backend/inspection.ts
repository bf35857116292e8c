// Looks at an idle server for what a session has left there and nobody has noticed: a leak. It owns the
// comparison; a server that leaks is closed, and a leak is always a fault of pgmux.
import { internalExchange, writeQuery } from './internal.ts'
import { learn } from './preparing.ts'
import { Ask, type Remains, TIME_NAMES, writeProbe } from './probe.ts'
import { bringSetup, type ResetTarget, writeReset } from './reset.ts'
import type { Talk } from './talk.ts'

/** What there must not be on a server that is nobody's, in words. */
const IN_WORDS: readonly (readonly [ask: number, what: string])[] = [
  [Ask.Temp, 'temporary objects'],
  [Ask.Locks, 'advisory locks'],
  [Ask.Cursors, 'cursors'],
  [Ask.Channels, 'channels'],
]

/** Asks an idle server whether it lives. */
export function check({ talk, out }: ResetTarget, then: (leak: string | null) => void): void {
  const exchange = internalExchange('check', false, (_status, { error }) => then(error === null ? '' : null))
  writeQuery(talk, out, '', exchange)
}

/**
 * Asks an idle server, and while there is time for it, about its database.
 * @param then what has leaked, in words; '' : nothing; null: it did not answer
 */
export function inspect(target: ResetTarget, then: (leak: string | null) => void): void {
  const { talk, out, parts } = target
  if (talk.taintedBy !== null && parts.route.witness === 'off') {
    // Nobody has looked what was left, and what was must not be kept for long: locks, say.
    writeReset(target, (isDone) => then(isDone ? '' : null))
    return
  }
  bringSetup(talk, out)
  writeProbe(target, Ask.All, [], (remains) => {
    const leak = remains === null ? null : leakOf(talk, remains)
    if (leak === '') learn(target, () => then(''))
    else then(leak)
  })
}

function leakOf(talk: Talk, { settings, present, names }: Remains): string {
  const leaks = IN_WORDS.filter(([ask]) => (present & ask) !== 0).map(([, what]) => what)
  // What it has under names of its last client is closed before the next one comes.
  if (names.some(([name]) => !talk.names.there.has(name ?? ''))) leaks.push('prepared statements')
  const believed = talk.settings?.values ?? new Map<string, string>()
  for (const [name, value] of settings) {
    // Reported ones are known by what Postgres tells.
    if (!talk.reported.has(name) && believed.get(name) !== value) leaks.push(`setting ${name}`)
  }
  for (const name of believed.keys()) {
    // Custom ones are not listed, and of the times one may be believed that was never set (probe.ts).
    const isListed = !talk.reported.has(name) && !name.includes('.') && !TIME_NAMES.includes(name)
    if (isListed && !settings.has(name)) leaks.push(`missing setting ${name}`)
  }
  return leaks.join(', ')
}
