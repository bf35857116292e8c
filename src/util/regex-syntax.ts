// The syntax of Postgres' regular expressions, as far as it can be matched in time that grows with the text
// only: no back references, no look-ahead or look-behind. Pure. Works on bytes, as Postgres does before it
// knows a database: each char of a pattern is one byte.

/** 256 flags: which bytes belong. */
export type ByteSet = readonly boolean[]

export type Place = 'start' | 'end' | 'word-start' | 'word-end' | 'word-edge' | 'no-word-edge'

export type RegexNode =
  | { readonly kind: 'set'; readonly set: ByteSet }
  | { readonly kind: 'place'; readonly place: Place }
  | { readonly kind: 'sequence'; readonly parts: readonly RegexNode[] }
  | { readonly kind: 'choice'; readonly parts: readonly RegexNode[] }
  | { readonly kind: 'group'; readonly index: number; readonly part: RegexNode }
  | {
      readonly kind: 'repeat'
      readonly part: RegexNode
      readonly min: number
      readonly max: number
      readonly isLazy: boolean
    }

/** Why a pattern cannot be used, in words. */
export class RegexError extends Error {
  override name = 'RegexError'
}

/** Postgres' highest number in a bound (RE_DUP_MAX). */
const MAX_REPEAT = 255
const MAX_DEPTH = 50

const byteSet = (isIn: (byte: number) => boolean): ByteSet => Array.from({ length: 256 }, (_, i) => isIn(i))
const range = (first: string, last: string) => (byte: number) =>
  byte >= first.charCodeAt(0) && byte <= last.charCodeAt(0)
const lower = range('a', 'z')
const upper = range('A', 'Z')
const digit = range('0', '9')
const space = (byte: number) => byte === 32 || (byte >= 9 && byte <= 13)
const alpha = (byte: number) => lower(byte) || upper(byte)
const alnum = (byte: number) => alpha(byte) || digit(byte)
const word = (byte: number) => alnum(byte) || byte === 95
const graph = (byte: number) => byte > 32 && byte < 127

/** The named classes in the C locale. */
const CLASSES: Readonly<Record<string, (byte: number) => boolean>> = {
  alnum,
  alpha,
  blank: (byte) => byte === 32 || byte === 9,
  cntrl: (byte) => byte < 32 || byte === 127,
  digit,
  graph,
  lower,
  print: (byte) => graph(byte) || byte === 32,
  punct: (byte) => graph(byte) && !alnum(byte),
  space,
  upper,
  word,
  xdigit: (byte) => digit(byte) || range('a', 'f')(byte) || range('A', 'F')(byte),
}

const CLASS_ESCAPES: Readonly<Record<string, (byte: number) => boolean>> = {
  d: digit,
  s: space,
  w: word,
  D: (byte) => !digit(byte),
  S: (byte) => !space(byte),
  W: (byte) => !word(byte),
}
const CHAR_ESCAPES: Readonly<Record<string, string>> = { f: '\f', n: '\n', r: '\r', t: '\t', v: '\v' }
const PLACE_ESCAPES: Readonly<Record<string, Place>> = {
  A: 'start',
  Z: 'end',
  m: 'word-start',
  M: 'word-end',
  y: 'word-edge',
  Y: 'no-word-edge',
}

/** Whether a byte belongs to a word. */
export const WORD: ByteSet = byteSet(word)

/** @throws RegexError */
export function parseRegex(pattern: string): { root: RegexNode; groups: number } {
  return new Parser(pattern).parse()
}

class Parser {
  readonly #text: string
  #at = 0
  #groups = 0
  #depth = 0

  constructor(text: string) {
    this.#text = text
  }

  parse(): { root: RegexNode; groups: number } {
    const root = this.#choice()
    if (this.#at < this.#text.length) throw new RegexError('parentheses () not balanced')
    return { root, groups: this.#groups }
  }

  #peek(): string {
    return this.#text.charAt(this.#at)
  }

  #eat(expected: string): boolean {
    if (!this.#text.startsWith(expected, this.#at)) return false
    this.#at += expected.length
    return true
  }

  #choice(): RegexNode {
    if (++this.#depth > MAX_DEPTH) throw new RegexError('nesting is too deep')
    const parts = [this.#sequence()]
    while (this.#eat('|')) parts.push(this.#sequence())
    this.#depth--
    return parts.length === 1 ? (parts[0] as RegexNode) : { kind: 'choice', parts }
  }

  #sequence(): RegexNode {
    const parts: RegexNode[] = []
    for (let next = this.#peek(); next !== '' && next !== '|' && next !== ')'; next = this.#peek()) {
      const part = this.#atom()
      // A place cannot be repeated; a quantifier behind it is one that stands alone.
      parts.push(part.kind === 'place' ? part : this.#quantified(part))
    }
    return { kind: 'sequence', parts }
  }

  #quantified(part: RegexNode): RegexNode {
    let bounds: [number, number]
    if (this.#eat('*')) bounds = [0, Number.POSITIVE_INFINITY]
    else if (this.#eat('+')) bounds = [1, Number.POSITIVE_INFINITY]
    else if (this.#eat('?')) bounds = [0, 1]
    else if (this.#isBound()) bounds = this.#bound()
    else return part
    const isLazy = this.#eat('?')
    return { kind: 'repeat', part, min: bounds[0], max: bounds[1], isLazy }
  }

  /** `{` begins a bound only in front of a digit. */
  #isBound(): boolean {
    return this.#peek() === '{' && digit(this.#text.charCodeAt(this.#at + 1))
  }

  #bound(): [number, number] {
    const match = /^\{([0-9]+)(,?)([0-9]*)\}/.exec(this.#text.slice(this.#at))
    const min = Number(match?.[1])
    const max = match?.[2] === '' ? min : match?.[3] === '' ? Number.POSITIVE_INFINITY : Number(match?.[3])
    const isRight = match !== null && min <= max && min <= MAX_REPEAT
    if (!isRight || (Number.isFinite(max) && max > MAX_REPEAT))
      throw new RegexError('invalid repetition count(s)')
    this.#at += match[0].length
    return [min, max]
  }

  #atom(): RegexNode {
    if ('*+?'.includes(this.#peek()) || this.#isBound()) throw new RegexError('quantifier operand invalid')
    const char = this.#text.charAt(this.#at++)
    if (char === '^') return { kind: 'place', place: 'start' }
    if (char === '$') return { kind: 'place', place: 'end' }
    if (char === '.') return { kind: 'set', set: byteSet(() => true) }
    if (char === '(') return this.#group()
    if (char === '[') return this.#bracket()
    if (char === '\\') return this.#escape()
    return literal(char)
  }

  #group(): RegexNode {
    const isCapturing = !this.#eat('?:')
    if (isCapturing && this.#peek() === '?') throw unsupported(`(?${this.#text.charAt(this.#at + 1)}`)
    const index = isCapturing ? ++this.#groups : 0
    const part = this.#choice()
    if (!this.#eat(')')) throw new RegexError('parentheses () not balanced')
    return isCapturing ? { kind: 'group', index, part } : { kind: 'sequence', parts: [part] }
  }

  #escape(): RegexNode {
    const char = this.#escaped()
    const place = PLACE_ESCAPES[char]
    if (place !== undefined) return { kind: 'place', place }
    const isIn = CLASS_ESCAPES[char]
    if (isIn !== undefined) return { kind: 'set', set: byteSet(isIn) }
    return literal(escapedChar(char))
  }

  /** The char behind a backslash. */
  #escaped(): string {
    if (this.#at >= this.#text.length) throw new RegexError('invalid escape \\ sequence')
    return this.#text.charAt(this.#at++)
  }

  #bracket(): RegexNode {
    if (/^\[:[<>]:\]\]/.test(this.#text.slice(this.#at))) throw unsupported('[[:<:]] and [[:>:]]')
    const isNegated = this.#eat('^')
    const flags = new Array<boolean>(256).fill(false)
    for (let isFirst = true; isFirst || this.#peek() !== ']'; isFirst = false) {
      const first = this.#bracketItem(isFirst)
      if (typeof first !== 'string') {
        for (let byte = 0; byte < 256; byte++) flags[byte] ||= first(byte)
        continue
      }
      const last = this.#rangeEnd(first)
      if (last < first) throw new RegexError('invalid character range')
      for (let byte = first.charCodeAt(0); byte <= last.charCodeAt(0); byte++) flags[byte] = true
    }
    this.#at++
    return { kind: 'set', set: isNegated ? flags.map((flag) => !flag) : flags }
  }

  /** One char or class of a bracket expression. */
  #bracketItem(isFirst: boolean): string | ((byte: number) => boolean) {
    if (this.#at >= this.#text.length) throw new RegexError('brackets [] not balanced')
    if (this.#peek() === '-' && !isFirst && this.#text.charAt(this.#at + 1) !== ']')
      throw new RegexError('invalid character range')
    if (this.#peek() === '[') return this.#namedClass()
    const char = this.#text.charAt(this.#at++)
    if (char !== '\\') return char
    const escaped = this.#escaped()
    return CLASS_ESCAPES[escaped] ?? escapedChar(escaped)
  }

  /** What `a-` is followed by; without a range the char itself. */
  #rangeEnd(first: string): string {
    const next = this.#text.charAt(this.#at + 1)
    if (this.#peek() !== '-' || next === ']' || next === '') return first
    this.#at++
    if (this.#eat('-')) return '-'
    const last = this.#bracketItem(true)
    if (typeof last !== 'string') throw new RegexError('invalid character range')
    return last
  }

  #namedClass(): string | ((byte: number) => boolean) {
    const rest = this.#text.slice(this.#at)
    if (/^\[[.=]/.test(rest)) throw unsupported('[. .] and [= =]')
    const match = /^\[:([^:\]]*):\]/.exec(rest)
    if (match === null) {
      if (rest.startsWith('[:')) throw new RegexError('invalid character class')
      this.#at++
      return '['
    }
    const found = Object.hasOwn(CLASSES, match[1] as string) ? CLASSES[match[1] as string] : undefined
    if (found === undefined) throw new RegexError('invalid character class')
    this.#at += match[0].length
    return found
  }
}

/** The char that an escape stands for, where it stands for one. */
function escapedChar(char: string): string {
  const known = CHAR_ESCAPES[char]
  if (known !== undefined) return known
  if (alnum(char.charCodeAt(0))) throw unsupported(`\\${char}`)
  return char
}

function literal(char: string): RegexNode {
  const code = char.charCodeAt(0)
  return { kind: 'set', set: byteSet((byte) => byte === code) }
}

function unsupported(what: string): RegexError {
  return new RegexError(`${what} cannot be used here; write the pattern without it`)
}
