// Cuts pg_hba.conf and pg_ident.conf into lines of fields of tokens, as Postgres does: quotes, lists with
// commas, comments, lines that go on behind a backslash, and other files that are included. Pure: reading a
// file is given to it. What the fields mean is for hba-file.ts and ident-file.ts.

/** One value of a field. */
export interface Token {
  readonly text: string
  /** A quote stood in front of its first character: it is a name, whatever it says. */
  readonly isQuoted: boolean
}

/** A line that says something. */
export interface AuthLine {
  /** `pg_hba.conf:12`: where it begins. */
  readonly place: string
  readonly fields: readonly (readonly Token[])[]
}

/** What was asked for, or why it cannot be had. */
type Read<T> = { readonly value: T } | { readonly error: string; readonly isMissing: boolean }

/** The files, as this parser sees them. Names are absolute, or as the configuration has them. */
export interface AuthFiles {
  text(name: string): Read<string>
  /** The names in a folder, without the folders in it. */
  list(name: string): Read<readonly string[]>
  /** A name that stands in `outer`, from the folder of that file. */
  beside(outer: string, name: string): string
}

export interface AuthText {
  readonly lines: readonly AuthLine[]
  /** Each begins with its place. */
  readonly problems: readonly string[]
}

/** As in Postgres (CONF_FILE_MAX_DEPTH). */
const MAX_DEPTH = 10
/** All files that one file includes, at any depth, so that a circle in a wide folder comes to an end. */
const MAX_FILES = 1000
const BLANK = /[ \t\r]/

/** Reads a file and what it includes. Never throws. */
export function readAuthFile(name: string, files: AuthFiles): AuthText {
  const reader = new Reader(files)
  reader.read(name, '', 0)
  return { lines: reader.lines, problems: reader.problems }
}

class Reader {
  readonly lines: AuthLine[] = []
  readonly problems: string[] = []
  readonly #files: AuthFiles
  #count = 0

  constructor(files: AuthFiles) {
    this.#files = files
  }

  /** @param by the place that includes it; '' for the first file */
  read(name: string, by: string, depth: number): void {
    const text = this.#open(name, by, depth)
    if (text !== null) this.#readText(name, text, depth)
  }

  #open(name: string, by: string, depth: number): string | null {
    const at = by === '' ? '' : `${by}: `
    if (depth > MAX_DEPTH || ++this.#count > MAX_FILES) {
      const limit = depth > MAX_DEPTH ? `${MAX_DEPTH} deep` : `${MAX_FILES} files`
      this.problems.push(`${at}could not open file "${name}": includes go no further than ${limit}`)
      return null
    }
    const read = this.#files.text(name)
    if ('value' in read) return read.value
    this.problems.push(`${at}could not open file "${name}": ${read.error}`)
    return null
  }

  #readText(name: string, text: string, depth: number): void {
    for (const { line, number } of logicalLines(text)) {
      const place = `${name}:${number}`
      const before = this.problems.length
      const fields = line.includes('\0') ? this.#zeroByte(place) : this.#fields(line, { name, place, depth })
      if (fields.length === 0 || this.problems.length > before) continue
      if (!this.#include(fields, { name, place, depth })) this.lines.push({ place, fields })
    }
  }

  #zeroByte(place: string): Token[][] {
    this.problems.push(`${place}: holds a zero byte`)
    return []
  }

  #fields(line: string, from: Origin): Token[][] {
    const cursor = new Cursor(line)
    const fields: Token[][] = []
    while (!cursor.isAtEnd) {
      const field = this.#field(cursor, from)
      if (field.length > 0) fields.push(field)
    }
    return fields
  }

  /** Values with commas between them. */
  #field(cursor: Cursor, from: Origin): Token[] {
    const tokens: Token[] = []
    let next = cursor.token()
    for (; next !== null; next = next.hasComma ? cursor.token() : null) {
      const { text, isQuoted } = next
      if (!isQuoted && text.length > 1 && text.startsWith('@'))
        for (const value of this.#values(text, from)) tokens.push(value)
      else tokens.push({ text, isQuoted })
    }
    return tokens
  }

  /** All values of a file that was named as `@file`. */
  #values(reference: string, { name, place, depth }: Origin): Token[] {
    const inner = new Reader(this.#files)
    inner.#count = this.#count
    inner.read(this.#files.beside(name, reference.slice(1)), place, depth + 1)
    this.#count = inner.#count
    for (const problem of inner.problems) this.problems.push(problem)
    return inner.lines.flatMap(({ fields }) => fields.flat())
  }

  /** @returns whether the line was an include. */
  #include(fields: readonly (readonly Token[])[], { name, place, depth }: Origin): boolean {
    const word = fields[0]?.[0]?.text
    const operand = fields[1]?.[0]?.text
    if (fields.length !== 2 || operand === undefined) return false
    if (word === 'include_dir') {
      this.#includeFolder(operand, { name, place, depth })
      return true
    }
    if (word !== 'include' && word !== 'include_if_exists') return false
    const file = this.#files.beside(name, operand)
    const read = word === 'include' ? null : this.#files.text(file)
    if (read === null || 'value' in read || !read.isMissing) this.read(file, place, depth + 1)
    return true
  }

  #includeFolder(operand: string, { name, place, depth }: Origin): void {
    if (operand.trim() === '') {
      this.problems.push(`${place}: empty configuration directory name`)
      return
    }
    const folder = this.#files.beside(name, operand)
    const listed = this.#files.list(folder)
    if ('error' in listed) {
      this.problems.push(`${place}: could not open directory "${folder}": ${listed.error}`)
      return
    }
    const isMeant = (entry: string): boolean => /^[^.].*\.conf$/s.test(entry)
    for (const entry of listed.value.filter(isMeant).sort(byBytes))
      this.read(`${folder.replace(/\/$/, '')}/${entry}`, place, depth + 1)
  }
}

/** The file and line that the reader is at. */
interface Origin {
  readonly name: string
  readonly place: string
  readonly depth: number
}

/** Lines, joined where one ends in a backslash, with the number of their first. */
function logicalLines(text: string): { line: string; number: number }[] {
  const raw = text.split('\n')
  if (raw.at(-1) === '') raw.pop()
  const lines: { line: string; number: number }[] = []
  let line = ''
  let number = 1
  // A backslash that ended a line before is gone; what it was put behind must not end one again.
  let joined = 0
  for (const [i, piece] of raw.entries()) {
    line = (line + piece).replace(/[\r\n]+$/, '')
    if (line.length > joined && line.endsWith('\\') && i < raw.length - 1) {
      line = line.slice(0, -1)
      joined = line.length
      continue
    }
    if (line.length > joined && line.endsWith('\\')) line = line.slice(0, -1)
    lines.push({ line, number })
    line = ''
    joined = 0
    number = i + 2
  }
  return lines
}

/** Reads tokens from one line. */
class Cursor {
  readonly #line: string
  #at = 0

  constructor(line: string) {
    this.#line = line
  }

  get isAtEnd(): boolean {
    return this.#at >= this.#line.length
  }

  /** @returns null at the end of the line */
  token(): (Token & { hasComma: boolean }) | null {
    const line = this.#line
    let text = ''
    let isQuoted = false
    let sawQuote = false
    let isInside = false
    let wasQuote = false
    let hasComma = false
    while (!this.isAtEnd && (BLANK.test(line.charAt(this.#at)) || line[this.#at] === ',')) this.#at++
    for (; this.#at < line.length; this.#at++) {
      const char = line.charAt(this.#at)
      if (!isInside && BLANK.test(char)) break
      if (!isInside && char === '#') {
        this.#at = line.length
        break
      }
      hasComma = !isInside && char === ','
      if (hasComma) break
      if (char !== '"' || wasQuote) text += char
      // Two quotes inside quotes are one that is meant.
      wasQuote = isInside && char === '"' ? !wasQuote : false
      if (char !== '"') continue
      isInside = !isInside
      sawQuote = true
      isQuoted ||= text === ''
    }
    return sawQuote || text !== '' ? { text, isQuoted, hasComma } : null
  }
}

/** As strcmp. */
function byBytes(a: string, b: string): number {
  return Buffer.compare(Buffer.from(a), Buffer.from(b))
}
