// How a value of a type becomes JSON where a request did not ask for texts. Pure, but for what was learned
// of the array types of each database. Whatever a JSON number could not carry stays a string.
import type { JsonBuffer } from './json-buffer.ts'

/** What becomes of the text of a value. */
const Kind = { Text: 0, Bool: 1, Number: 2, Float: 3, Json: 4 } as const

const SCALARS = new Map<number, number>([
  [16, Kind.Bool],
  [21, Kind.Number],
  [23, Kind.Number],
  [700, Kind.Float],
  [701, Kind.Float],
  [114, Kind.Json],
  [3802, Kind.Json],
])
/** Types that everybody uses and that are no arrays; others are asked for. */
const TEXTS = new Set([
  17, 18, 19, 20, 25, 26, 705, 790, 1042, 1043, 1082, 1083, 1114, 1184, 1186, 1266, 1560, 1562, 1700, 2249,
  2278, 2950, 3220, 650, 829, 869, 142, 600, 601, 602, 603, 604, 628, 718,
])

/** An array type: its elements, and what stands between them. */
export interface ArrayType {
  readonly element: number
  readonly delimiter: number
}

const COMMA = 0x2c
/** Types of Postgres itself, by the array and its element. */
const BUILTIN_ARRAYS: readonly (readonly [number, number])[] = [
  [1000, 16],
  [1005, 21],
  [1007, 23],
  [1021, 700],
  [1022, 701],
  [199, 114],
  [3807, 3802],
  [1009, 25],
  [1015, 1043],
  [1016, 20],
  [1231, 1700],
  [2951, 2950],
  [1182, 1082],
  [1115, 1114],
  [1185, 1184],
]
const KNOWN_MAX = 10_000

/** What is known of the types of one database. */
export class TypeTable {
  readonly #arrays = new Map<number, ArrayType | null>()

  constructor() {
    for (const [array, element] of BUILTIN_ARRAYS) this.#arrays.set(array, { element, delimiter: COMMA })
  }

  /** Types that have to be asked for before a value of theirs can be written. */
  unknownOf(types: readonly number[]): number[] {
    return types.filter((type) => !SCALARS.has(type) && !TEXTS.has(type) && !this.#arrays.has(type))
  }

  /** Null: it is no array. */
  learn(type: number, array: ArrayType | null): void {
    if (this.#arrays.size >= KNOWN_MAX) this.#arrays.delete(this.#arrays.keys().next().value ?? 0)
    this.#arrays.set(type, array)
  }

  arrayOf(type: number): ArrayType | null {
    return this.#arrays.get(type) ?? null
  }

  /** Writes the text in `src[start..stop)`, of this type. */
  write(out: JsonBuffer, type: number, [src, start, stop]: Slice): void {
    const array = this.arrayOf(type)
    if (array !== null) new ArrayText(out, array, [src, start, stop]).write()
    else writeScalar(out, type, [src, start, stop])
  }
}

/** Bytes of a value. */
export type Slice = readonly [src: Buffer, start: number, stop: number]

function writeScalar(out: JsonBuffer, type: number, [src, start, stop]: Slice): void {
  switch (SCALARS.get(type)) {
    case Kind.Bool:
      out.ascii(src[start] === 0x74 ? 'true' : 'false')
      return
    case Kind.Number:
    case Kind.Json:
      out.raw(src, start, stop)
      return
    case Kind.Float:
      // NaN, Infinity and -Infinity are no numbers for JSON.
      if (src[stop - 1] <= 0x39) out.raw(src, start, stop)
      else out.string(src, start, stop)
      return
    default:
      out.string(src, start, stop)
  }
}

const OPEN = 0x7b
const CLOSE = 0x7d
const QUOTE = 0x22
const BACKSLASH = 0x5c
const EQUALS = 0x3d
const NULL = Buffer.from('NULL', 'latin1')

/** The text of an array, `{a,"b c",NULL,{...}}` with its bounds in front where they are odd. */
class ArrayText {
  readonly #out: JsonBuffer
  readonly #type: ArrayType
  readonly #src: Buffer
  readonly #stop: number
  #at: number

  constructor(out: JsonBuffer, type: ArrayType, [src, start, stop]: Slice) {
    this.#out = out
    this.#type = type
    this.#src = src
    this.#stop = stop
    const equals = src[start] === OPEN ? -1 : src.indexOf(EQUALS, start)
    this.#at = equals < 0 ? start : equals + 1
  }

  write(): void {
    const out = this.#out
    for (; this.#at < this.#stop; this.#at++) {
      const byte = this.#src[this.#at]
      if (byte === OPEN) out.byte(0x5b)
      else if (byte === CLOSE) out.byte(0x5d)
      else if (byte === this.#type.delimiter) out.byte(COMMA)
      else if (byte === QUOTE) this.#quoted()
      else this.#bare()
    }
  }

  #bare(): void {
    const src = this.#src
    const start = this.#at
    let stop = start
    while (stop < this.#stop && src[stop] !== CLOSE && src[stop] !== this.#type.delimiter) stop++
    this.#at = stop - 1
    if (stop - start === NULL.length && src.compare(NULL, 0, NULL.length, start, stop) === 0)
      this.#out.ascii('null')
    else writeScalar(this.#out, this.#type.element, [src, start, stop])
  }

  #quoted(): void {
    const src = this.#src
    const start = this.#at + 1
    let end = start
    while (end < this.#stop && src[end] !== QUOTE) end += src[end] === BACKSLASH ? 2 : 1
    this.#at = end
    const plain = Buffer.allocUnsafe(Math.max(0, end - start))
    let length = 0
    for (let at = start; at < end; at++) {
      if (src[at] === BACKSLASH) at++
      plain[length++] = src[at]
    }
    writeScalar(this.#out, this.#type.element, [plain, 0, length])
  }
}
