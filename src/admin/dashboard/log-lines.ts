// Lines of the log on their way to those who look: so many a second and no more, each of a bounded length. It
// owns those that were not taken yet. Knows no timer: its owner takes them.
import type { TailLine } from '../../observe/log-tail.ts'

const LINES_MAX = 100
const WINDOW_MS = 1000
/** Of one line, in characters. */
const FIELDS_MAX = 4096
/** Of all lines that are told at once, in characters. */
const TEXT_MAX = 256 * 1024

export class LogLines {
  #pending: TailLine[] = []
  #since = 0
  #count = 0
  #leftOut = 0

  add(line: TailLine): void {
    if (this.#count >= LINES_MAX) {
      this.#leftOut++
      return
    }
    this.#count++
    this.#pending.push(line)
  }

  /** Those that came since the last time. */
  take(now: number): readonly TailLine[] {
    if (now - this.#since >= WINDOW_MS) this.#begin(now)
    const lines = this.#pending
    if (lines.length > 0) this.#pending = []
    return lines
  }

  #begin(now: number): void {
    this.#since = now
    this.#count = 0
    if (this.#leftOut === 0) return
    const message = 'lines of the log are not shown here: there were too many'
    this.#pending.push({ at: Date.now(), level: 'warn', message, fields: { left_out: this.#leftOut } })
    this.#leftOut = 0
  }
}

/** As an event tells them. Of too much text the newest lines are told. */
export function linesJson(lines: readonly TailLine[]): string {
  const texts: string[] = []
  let total = 0
  for (const line of lines.toReversed()) {
    const text = JSON.stringify({ ...line, fields: shortened(line.fields) })
    total += text.length
    if (total > TEXT_MAX) break
    texts.push(text)
  }
  return `{"lines":[${texts.toReversed().join(',')}]}`
}

function shortened(fields: TailLine['fields']): object {
  const text = JSON.stringify(fields)
  return text.length <= FIELDS_MAX ? fields : { cut_off: text.slice(0, FIELDS_MAX) }
}
