// The queue of replies that a server owes, one entry for each message that Postgres answers. It owns the
// order and the meaning of replies: an empty queue is the only meaning of "done". It reads no bytes.

/** The message that an entry stands for. */
export const Reply = {
  Parse: 1,
  Bind: 2,
  DescribeStatement: 3,
  DescribePortal: 4,
  Execute: 5,
  Close: 6,
  /** Ends a batch of extended messages. */
  Sync: 7,
  Query: 8,
  FunctionCall: 9,
  /** CopyDone or CopyFail: answered by nothing, but it tells which Syncs a COPY has eaten. */
  CopyEnd: 10,
  /** A whole exchange that runs beside those of other clients, up to its ReadyForQuery. */
  Shared: 11,
} as const

/** The bits of an entry that say which message it stands for. */
export const REPLY_KIND = 0x0f

/** What happens to the reply; without one it is forwarded to the client. */
export const Fate = {
  /** Ours, in the middle of the client's batch: the client never sees it. */
  Swallow: 0x10,
  /** Postgres was not asked: we make it up when its turn comes. */
  Insert: 0x20,
  /** Part of an exchange of our own; `ref` is that exchange. */
  Internal: 0x40,
  /** A Sync that a COPY IN may have eaten. */
  Doubtful: 0x80,
} as const

const FIRST_CAPACITY = 16

export class Replies {
  #codes = new Uint8Array(FIRST_CAPACITY)
  #refs: unknown[] = new Array(FIRST_CAPACITY).fill(null)
  #mask = FIRST_CAPACITY - 1
  #first = 0
  /** Entries in the queue. */
  size = 0
  /** An error came: what is appended up to the next Sync will not be answered. */
  isSkipping = false

  /** Kind and fate of the first entry, 0 when there is none. */
  get head(): number {
    return this.size === 0 ? 0 : this.#codes[this.#first]
  }

  get headRef(): unknown {
    return this.size === 0 ? null : this.#refs[this.#first]
  }

  /** Kind and fate of the last entry, 0 when there is none. */
  get tail(): number {
    return this.size === 0 ? 0 : this.at(this.size - 1)
  }

  /** What the last entry refers to. */
  get tailRef(): unknown {
    return this.size === 0 ? null : this.refAt(this.size - 1)
  }

  /** @returns false when the entry is not answered because an error makes Postgres skip to the next Sync. */
  push(code: number, ref: unknown): boolean {
    if (this.isSkipping) {
      if ((code & REPLY_KIND) !== Reply.Sync) return false
      this.isSkipping = false
    }
    if (this.size > this.#mask) this.#grow()
    const at = (this.#first + this.size) & this.#mask
    this.#codes[at] = code
    this.#refs[at] = ref
    this.size++
    return true
  }

  shift(): void {
    this.#refs[this.#first] = null
    this.#first = (this.#first + 1) & this.#mask
    this.size--
  }

  /** Kind and fate of the entry at this place (0 is the head). */
  at(place: number): number {
    return this.#codes[(this.#first + place) & this.#mask]
  }

  refAt(place: number): unknown {
    return this.#refs[(this.#first + place) & this.#mask]
  }

  setAt(place: number, code: number): void {
    this.#codes[(this.#first + place) & this.#mask] = code
  }

  /** The first entry stands for something else from now on. */
  replaceHead(code: number, ref: unknown): void {
    this.#codes[this.#first] = code
    this.#refs[this.#first] = ref
  }

  /** Takes one entry out of the middle; rare, so it may be slow. */
  removeAt(place: number): void {
    for (let index = place; index > 0; index--) {
      const to = (this.#first + index) & this.#mask
      const from = (this.#first + index - 1) & this.#mask
      this.#codes[to] = this.#codes[from]
      this.#refs[to] = this.#refs[from]
    }
    this.shift()
  }

  /**
   * An ErrorResponse came in an extended batch: drops the entries up to the next Sync, each given to
   * `dropped` (with its code). Without a Sync in the queue, skipping goes on with what is appended.
   */
  skipToSync(dropped: (code: number, ref: unknown) => void): void {
    while (this.size > 0) {
      const code = this.head
      if ((code & REPLY_KIND) === Reply.Sync) return
      const ref = this.headRef
      this.shift()
      dropped(code, ref)
    }
    this.isSkipping = true
  }

  #grow(): void {
    const size = this.size
    const capacity = (this.#mask + 1) * 2
    const codes = new Uint8Array(capacity)
    const refs: unknown[] = new Array(capacity).fill(null)
    for (let place = 0; place < size; place++) {
      codes[place] = this.at(place)
      refs[place] = this.refAt(place)
    }
    this.#codes = codes
    this.#refs = refs
    this.#mask = capacity - 1
    this.#first = 0
  }
}
