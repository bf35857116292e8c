// Owns the question when the catalogue is to be asked again: whether anything has changed (a digest,
// cheap), or for everything. It asks nothing itself, and never says that what is known holds while it may
// not.

export interface FreshnessLimits {
  /** Time between two digests while nothing points to a change. */
  readonly everyMs: number
  /**
   * Time between two questions at least; twice as long after each that failed, and longer where answers take
   * long: they are to take no more than a fifth of the time.
   */
  readonly gapMs: number
  /** A question without an answer for so long has failed; no gap is longer. */
  readonly answerMs: number
}

/** So many times as long as the last answer took nothing is asked. */
const REST = 4

/** Names that turned out not to exist; with more of them the oldest is asked for again. */
const MISSING_MAX = 1_000

/** What the caller is to do now; when it has, it says `onDigest`, `onSurvey` or `onFailure`. */
export type Question = 'nothing' | 'digest' | 'survey'

/** How much is to be asked because of what was heard. */
const News = { None: 0, Possible: 1, Certain: 2 } as const

export class Freshness {
  readonly #limits: FreshnessLimits
  /** The digest that belongs to what is known; null: nothing is. */
  #digest: string | null = null
  #asked: Question = 'nothing'
  #askedAt = Number.NEGATIVE_INFINITY
  /** The last answer, ms. */
  #tookMs = 0
  /** The last digest was another one. */
  #isOutdated = false
  /** What no answer tells of yet; and the same of the question under way. */
  #news: number = News.None
  #asksFor: number = News.None
  /** Questions that failed one after the other. */
  #failures = 0
  readonly #missing = new Set<string>()

  constructor(limits: FreshnessLimits) {
    this.#limits = limits
  }

  /** Does what is known hold, as far as anybody has said? If not, any statement may do anything. */
  get isCurrent(): boolean {
    return this.#digest !== null && !this.#isOutdated && (this.#news | this.#asksFor) === News.None
  }

  /**
   * To be called wherever somebody could ask: what is not 'nothing' is under way then.
   * @param now time in ms
   * @param isUrgent what was heard is asked for at once, unless questions fail
   */
  next(now: number, isUrgent = false): Question {
    const since = now - this.#askedAt
    if (this.#asked !== 'nothing') {
      if (since < this.#limits.answerMs) return 'nothing'
      this.onFailure()
    }
    const isLate = isUrgent && this.#failures === 0
    const usual = Math.max(this.#limits.gapMs * 2 ** this.#failures, this.#tookMs * REST)
    const gap = isLate ? 0 : Math.min(usual, this.#limits.answerMs)
    if (this.#digest !== null && !this.#isOutdated && this.#news !== News.Certain) {
      if (since < (this.#news !== News.None ? gap : Math.max(gap, this.#limits.everyMs))) return 'nothing'
      this.#asked = 'digest'
    } else {
      if (since < gap) return 'nothing'
      this.#asked = 'survey'
    }
    this.#askedAt = now
    this.#asksFor = this.#news
    this.#news = News.None
    return this.#asked
  }

  /** An answer has come; `onDigest` or `onSurvey` say what it was. */
  onAnswer(now: number): void {
    this.#tookMs = now - this.#askedAt
  }

  onDigest(digest: string): void {
    this.#failures = 0
    if (digest !== this.#digest) {
      this.#isOutdated = true
      // The survey is not to wait for the gap: its reason is known.
      this.#askedAt = Number.NEGATIVE_INFINITY
    }
    this.#settle()
  }

  /** @param digest read before the rows, or in one snapshot with them */
  onSurvey(digest: string): void {
    this.#failures = 0
    if (digest !== this.#digest) this.#missing.clear()
    this.#digest = digest
    this.#isOutdated = false
    this.#settle()
  }

  /** The question was refused, timed out or broke. */
  onFailure(): void {
    this.#failures++
    this.#news = Math.max(this.#news, this.#asksFor)
    this.#settle()
  }

  /**
   * A statement that may make, change or drop something has run, and its transaction has ended.
   * @param isCertain it did, and something of which the digest may not tell
   */
  onDdl(isCertain = false): void {
    this.#news = Math.max(this.#news, isCertain ? News.Certain : News.Possible)
  }

  /** A name was met that is no function's or relation's; `name` as in the statement. */
  onUnknown(name: string): void {
    if (this.#missing.has(name)) return
    if (this.#missing.size >= MISSING_MAX) {
      for (const oldest of this.#missing) {
        this.#missing.delete(oldest)
        break
      }
    }
    this.#missing.add(name)
    this.#news = Math.max(this.#news, News.Possible)
  }

  #settle(): void {
    this.#asked = 'nothing'
    this.#asksFor = News.None
  }
}
