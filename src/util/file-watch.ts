// Looks at a few files now and then, and tells when one has become another one and has rested since: who
// replaces a file may take a while to write it. It owns its timer; it reads no file.
import { statSync } from 'node:fs'
import { stat } from 'node:fs/promises'

/** Twice this after the last change, a change is told. */
const LOOK_MS = 400

interface FileFacts {
  readonly mtimeMs: number
  readonly ctimeMs: number
  readonly size: number
  readonly ino: number
}

/** Tells one state of a file from the next. Links are followed: what is looked at is what would be read. */
function markOf({ mtimeMs, ctimeMs, size, ino }: FileFacts): string {
  return `${mtimeMs} ${ctimeMs} ${size} ${ino}`
}

const MISSING = 'missing'

/** The present state of these files, as a text to compare. Take it before they are read. */
export function marksOf(files: readonly string[]): string {
  const marks = files.map((file) => {
    try {
      return markOf(statSync(file))
    } catch {
      return MISSING
    }
  })
  return marks.join()
}

export class FileWatch {
  readonly #onChange: () => void
  readonly #timer: NodeJS.Timeout
  #files: readonly string[] = []
  /** Of the state that is known, or that was seen last. */
  #marks = ''
  #isChanged = false
  #isLooking = false

  constructor(onChange: () => void) {
    this.#onChange = onChange
    this.#timer = setInterval(() => void this.#look(), LOOK_MS).unref()
  }

  /** From now on these, of which the state `marks` is known. */
  follow(files: readonly string[], marks: string): void {
    this.#files = files
    this.#marks = marks
    this.#isChanged = false
  }

  close(): void {
    clearInterval(this.#timer)
  }

  async #look(): Promise<void> {
    if (this.#isLooking || this.#files.length === 0) return
    this.#isLooking = true
    const files = this.#files
    const marks = await Promise.all(files.map((file) => stat(file).then(markOf, () => MISSING)))
    this.#isLooking = false
    // Others are to be watched by now.
    if (files !== this.#files) return
    if (marks.join() !== this.#marks) {
      this.#marks = marks.join()
      this.#isChanged = true
    } else if (this.#isChanged) {
      this.#isChanged = false
      this.#onChange()
    }
  }
}
