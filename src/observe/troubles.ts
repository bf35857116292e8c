// What went wrong of late, for whoever looks: errors that we made, counted by reason and the last of them one
// by one, and sessions that left something behind. It owns these short lists; each has a fixed length, and
// what is counted for ever is in counters.ts.

import type { Counters } from './counters.ts'
import type { LogLevel } from './log.ts'
import type { LimitedLog } from './log-limit.ts'
import type { Watcher } from './watcher.ts'

/** Errors told apart; what comes beyond them counts as `other`. */
const KINDS_MAX = 256
/** Single errors, and leaks, that are kept. */
const RECENT_MAX = 100
/** Longest text that is kept. */
const TEXT_MAX = 500

/** Where an error came up; '' where there is none. */
export interface Where {
  readonly database: string
  readonly user: string
  readonly address: string
}

/** One error. `at`: coarse time. */
export interface Trouble extends Where {
  readonly at: number
  readonly code: string
  readonly reason: string
  readonly message: string
}

/** All errors with one code and reason. */
export interface TroubleKind {
  readonly code: string
  readonly reason: string
  count: number
  readonly firstAt: number
  last: Trouble
}

/** What an idle server had of a session that was over. */
export interface Leak {
  readonly at: number
  readonly database: string
  readonly user: string
  readonly pid: number
  readonly what: string
  /** How the text began after which it was there. */
  readonly after: string
}

/** The last few of anything. */
class Recent<T> {
  readonly #all: T[] = []

  add(one: T): void {
    this.#all.push(one)
    if (this.#all.length > RECENT_MAX) this.#all.shift()
  }

  /** The newest first. */
  list(): T[] {
    return this.#all.toReversed()
  }
}

/** An error's words, as refusals have them. */
export type Words = Readonly<Record<'code' | 'reason' | 'message', string>>

/** How an error is told besides. */
export interface Telling {
  readonly counters: Counters
  /** Of the line in the log. */
  readonly message: string
  readonly level?: LogLevel
}

const NOWHERE: Where = { database: '', user: '', address: '' }

export class Troubles {
  readonly #time: { readonly now: number }
  readonly #log: Pick<LimitedLog, 'write'>
  readonly #kinds = new Map<string, TroubleKind>()
  readonly #recent = new Recent<Trouble>()
  readonly #leaks = new Recent<Leak>()
  /** Who is told of everything besides; null: nobody. */
  watcher: Watcher | null = null

  constructor(time: { readonly now: number }, log: Pick<LimitedLog, 'write'>) {
    this.#time = time
    this.#log = log
  }

  /** An error of ours: it is counted, remembered and written to the log. */
  report(words: Words, where: Where | null, { counters, message, level = 'info' }: Telling): void {
    const { code, reason, message: error } = words
    counters.errors.add([code, reason])
    this.add(words, where)
    const { database, user, address: client } = where ?? NOWHERE
    const fields = { ...(client === '' ? {} : { client }), user, database, code, error }
    this.#log.write(level, reason, { fields, message })
  }

  /** Remembers an error. Of its message the first 500 characters are kept. */
  add({ code, reason, message }: Words, where: Where | null = null): void {
    const { database, user, address } = where ?? NOWHERE
    const place = { database: cut(database), user: cut(user), address }
    const trouble: Trouble = { at: this.#time.now, code, reason, message: cut(message), ...place }
    this.#recent.add(trouble)
    this.watcher?.troubled(trouble, trouble)
    const isRoom = this.#kinds.size < KINDS_MAX || this.#kinds.has(`${code}\0${reason}`)
    const [kindCode, kindReason] = isRoom ? [code, reason] : ['other', 'other']
    const key = `${kindCode}\0${kindReason}`
    const known = this.#kinds.get(key)
    if (known === undefined) {
      const firstAt = trouble.at
      this.#kinds.set(key, { code: kindCode, reason: kindReason, count: 1, firstAt, last: trouble })
    } else {
      known.count++
      known.last = trouble
    }
  }

  addLeak(leak: Omit<Leak, 'at'>): void {
    const { what, after } = leak
    this.#leaks.add({ ...leak, at: this.#time.now, what: cut(what), after: cut(after) })
  }

  /** Those that came last first. */
  kinds(): TroubleKind[] {
    return [...this.#kinds.values()].sort((a, b) => b.last.at - a.last.at)
  }

  recent(): Trouble[] {
    return this.#recent.list()
  }

  leaks(): Leak[] {
    return this.#leaks.list()
  }
}

function cut(text: string): string {
  return text.length > TEXT_MAX ? `${text.slice(0, TEXT_MAX)}...` : text
}
