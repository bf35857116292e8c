// Reads pgbouncer.ini as PgBouncer does: sections, `key = value` to the end of the line, comments where
// something could begin, %include. Knows no setting. Reading a file is given to it. A value never stands in
// an error: it may hold a password.

/** What is wrong with a file: one sentence that begins with its place. */
export class ImportError extends Error {}

/** A section that begins, or a value in it. */
export interface IniEntry {
  readonly kind: 'section' | 'value'
  /** `pgbouncer.ini:12` */
  readonly place: string
  /** Of the section, or of the key. */
  readonly name: string
  readonly value: string
}

/** The text of a file, or why it cannot be had. */
export type ReadText = (name: string) => { readonly text: string } | { readonly error: string }

/** As in PgBouncer. */
const MAX_DEPTH = 10
/** All files together: a file that includes itself twice would be read a thousand times. */
const MAX_FILES = 1000
/** What C calls space. */
const SPACE = /[ \t\n\v\f\r]/
const KEY_CHARACTER = /[A-Za-z0-9_.*-]/

/**
 * All sections and values in their order.
 * @throws ImportError at the first thing that is not understood
 */
export function readIni(name: string, readText: ReadText): IniEntry[] {
  const reader = new Reader(readText)
  reader.read(name, '', 0)
  return reader.entries
}

class Reader {
  readonly entries: IniEntry[] = []
  readonly #readText: ReadText
  #files = 0

  constructor(readText: ReadText) {
    this.#readText = readText
  }

  /** @param by the place that includes it; '' for the first file */
  read(name: string, by: string, depth: number): void {
    const at = by === '' ? '' : `${by}: `
    if (depth > MAX_DEPTH) throw new ImportError(`${at}includes go no further than ${MAX_DEPTH} deep`)
    if (++this.#files > MAX_FILES) throw new ImportError(`${at}more than ${MAX_FILES} files are included`)
    const read = this.#readText(name)
    if ('error' in read) throw new ImportError(`${at}cannot read ${name}: ${read.error}`)
    new FileReader(name, read.text, this.entries).read((file, place) => this.read(file, place, depth + 1))
  }
}

class FileReader {
  readonly #name: string
  readonly #text: string
  readonly #entries: IniEntry[]
  #at = 0
  #line = 1

  constructor(name: string, text: string, entries: IniEntry[]) {
    this.#name = name
    // PgBouncer reads a text of C, which a zero byte ends.
    this.#text = text.split('\0', 1)[0]!
    this.#entries = entries
  }

  read(include: (file: string, place: string) => void): void {
    for (this.#skip(SPACE); this.#at < this.#text.length; this.#skip(SPACE)) {
      const char = this.#text.charAt(this.#at)
      if (/^%include[ \t]/.test(this.#text.slice(this.#at, this.#at + 9))) {
        const { place } = this
        this.#at += 8
        include(this.#restOfLine(), place)
      } else if (char === '#' || char === ';') this.#restOfLine()
      else if (char === '[') this.#section()
      else this.#value()
    }
  }

  get place(): string {
    return `${this.#name}:${this.#line}`
  }

  #skip(characters: RegExp): void {
    for (; this.#at < this.#text.length && characters.test(this.#text.charAt(this.#at)); this.#at++) {
      if (this.#text.charAt(this.#at) === '\n') this.#line++
    }
  }

  /** What stands from here to the end of the line, without the blanks around it. */
  #restOfLine(): string {
    this.#skip(/[ \t]/)
    const end = this.#text.indexOf('\n', this.#at)
    const text = this.#text.slice(this.#at, end < 0 ? this.#text.length : end)
    this.#at += text.length
    return text.replace(/[ \t\v\f\r]+$/, '')
  }

  #section(): void {
    const { place } = this
    const end = /[\]\n]/.exec(this.#text.slice(this.#at))
    if (end === null || end[0] !== ']') throw new ImportError(`${place}: this [ has no ]`)
    const name = this.#text.slice(this.#at + 1, this.#at + end.index)
    this.#at += end.index + 1
    this.#entries.push({ kind: 'section', place, name, value: '' })
  }

  #value(): void {
    const { place } = this
    const name = this.#text.charAt(this.#at) === '"' ? this.#quoted() : this.#plain()
    this.#skip(/[ \t]/)
    if (this.#text.charAt(this.#at) !== '=')
      throw new ImportError(`${place}: expects "key = value", a [section], or a comment`)
    this.#at++
    this.#entries.push({ kind: 'value', place, name, value: this.#restOfLine() })
  }

  #plain(): string {
    const start = this.#at
    this.#skip(KEY_CHARACTER)
    return this.#text.slice(start, this.#at)
  }

  /** As its manual says, in the quotes of SQL. No release of PgBouncer up to 1.25 reads it (#971). */
  #quoted(): string {
    const match = /^"((?:[^"\n]|"")*)"(?!")/.exec(this.#text.slice(this.#at))
    if (match === null) throw new ImportError(`${this.place}: this " has no second one`)
    this.#at += match[0].length
    return match[1]!.replaceAll('""', '"')
  }
}

/**
 * The `key=value` pairs of a line in [databases], [users] or [peers]; values may stand in 'single quotes'.
 * @throws ImportError
 */
export function readPairs(text: string, place: string): [name: string, value: string][] {
  const pairs: [string, string][] = []
  // Nothing but a space parts them: a tab belongs to what it stands in. Behind a quote one character is
  // passed over.
  const space = / */y
  const pair = /([^= ]+) *= *(?:'((?:[^']|'')*)'(?!')|([^' ][^ ]*)).?/sy
  for (let at = 0; ; at = pair.lastIndex) {
    space.lastIndex = at
    space.test(text)
    if (space.lastIndex >= text.length) return pairs
    pair.lastIndex = space.lastIndex
    const match = pair.exec(text)
    const value = match?.[2]?.replaceAll("''", "'") ?? match?.[3] ?? ''
    if (match === null || value === '')
      throw new ImportError(`${place}: expects pairs such as host=db.example.com, none of them empty`)
    pairs.push([match[1]!, value])
  }
}
