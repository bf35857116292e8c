// The line to the server: its events, whether it is there, and its return after it was lost. It knows
// nothing of what the events mean.
/** @import { History, Line, LogLine, Sample, Snapshot } from './types.js' */

/** Between two tries. */
const AGAIN_MS = 2000
/** Something comes each second; after this long without anything the line counts as lost. */
const SILENT_MS = 6000
const LOOK_MS = 1000

/**
 * @typedef {object} Handlers
 * @property {(history: History) => void} onHistory
 * @property {(snapshot: Snapshot) => void} onNow
 * @property {(sample: Sample) => void} onSample
 * @property {(lines: readonly LogLine[]) => void} onLog at first those of the last minutes
 * @property {(line: Line) => void} onLine
 */

export class Feed {
  /** @param {Handlers} handlers */
  constructor(handlers) {
    this.handlers = handlers
    /** @type {EventSource | null} */
    this.source = null
    /** @type {ReturnType<typeof setTimeout> | undefined} */
    this.timer = undefined
    this.heardAt = 0
    this.bye = ''
    /** @type {Line} */
    this.line = { state: 'connecting', since: Date.now(), reason: '' }
    setInterval(() => this.watch(), LOOK_MS)
    addEventListener('online', () => this.open())
  }

  /** Opens the line, or opens it anew. */
  open() {
    this.close()
    const source = new EventSource('dashboard/events')
    this.source = source
    this.heardAt = Date.now()
    const { onHistory, onNow, onSample, onLog } = this.handlers
    this.on(source, 'history', onHistory)
    this.on(source, 'now', onNow)
    this.on(source, 'sample', onSample)
    this.on(source, 'log', ({ lines }) => onLog(lines))
    this.on(source, 'bye', ({ reason }) => {
      this.bye = String(reason)
    })
    // Its own attempts would say nothing about why.
    source.onerror = () => this.lost(this.bye)
  }

  close() {
    clearTimeout(this.timer)
    this.source?.close()
    this.source = null
  }

  /**
   * @template T
   * @param {EventSource} source
   * @param {string} name
   * @param {(data: T) => void} take
   */
  on(source, name, take) {
    source.addEventListener(name, (event) => {
      if (this.source !== source) return
      this.heardAt = Date.now()
      if (name !== 'bye') this.move('live', '')
      take(JSON.parse(/** @type {MessageEvent<string>} */ (event).data))
    })
  }

  watch() {
    if (this.source !== null && Date.now() - this.heardAt > SILENT_MS)
      this.lost('Nothing has come for a while.')
  }

  /** @param {string} reason */
  lost(reason) {
    this.close()
    this.bye = ''
    this.move('lost', reason)
    this.timer = setTimeout(() => void this.probe(), AGAIN_MS)
  }

  /** An EventSource does not say with which status it was refused. */
  async probe() {
    const end = new AbortController()
    const timer = setTimeout(() => end.abort(), SILENT_MS)
    try {
      const response = await fetch('dashboard/events', { cache: 'no-store', signal: end.signal })
      if (response.ok) return this.open()
      const { error = '' } = await response.json().catch(() => ({}))
      if (response.status === 401) this.move('denied', String(error))
      else {
        this.lost(String(error))
        this.move('refused', String(error))
      }
    } catch {
      this.lost(this.line.reason)
    } finally {
      clearTimeout(timer)
      end.abort()
    }
  }

  /**
   * @param {Line['state']} state
   * @param {string} reason
   */
  move(state, reason) {
    if (this.line.state === state && this.line.reason === reason) return
    const wasAway = this.line.state === 'lost' || this.line.state === 'refused'
    const isAway = state === 'lost' || state === 'refused'
    this.line = { state, since: wasAway && isAway ? this.line.since : Date.now(), reason }
    this.handlers.onLine(this.line)
  }
}
