// What a RowDescription becomes in an answer: the text of `fields`, the types, the names of object mode.
// Pure, but for a memory of the descriptions seen last, since most requests are told the same ones.

const HEADER = 5
/** Behind the name: table, column, type, size, modifier, format. */
const REST = 18
const KNOWN_MAX = 500
/** A longer one is not worth being remembered. */
const KEY_MAX = 2048

/** The columns of a result. */
export interface Described {
  /** The array `fields`. */
  readonly fields: Buffer
  readonly types: readonly number[]
  /**
   * For object mode, by column: comma where needed, name and colon; null where a later column has the
   * same name.
   */
  readonly keys: readonly (Buffer | null)[]
}

/** No columns. */
export const NO_COLUMNS: Described = { fields: Buffer.from('[]'), types: [], keys: [] }

const known = new Map<string, Described>()

/** Of the message in `src[start..stop)`. */
export function describedBy(src: Buffer, start: number, stop: number): Described {
  if (stop - start > KEY_MAX) return read(src, start, stop)
  const key = src.toString('latin1', start + HEADER, stop)
  const found = known.get(key)
  if (found !== undefined) return found
  const described = read(src, start, stop)
  if (known.size >= KNOWN_MAX) known.clear()
  known.set(key, described)
  return described
}

function read(src: Buffer, start: number, stop: number): Described {
  const types: number[] = []
  const names: string[] = []
  const fields: string[] = []
  let at = start + HEADER + 2
  for (let count = src.readUInt16BE(start + HEADER); count > 0 && at < stop; count--) {
    const end = src.indexOf(0, at)
    const name = JSON.stringify(src.toString('utf8', at, end))
    const rest = end + 1
    const type = src.readUInt32BE(rest + 6)
    names.push(name)
    types.push(type)
    fields.push(
      `{"name":${name},"dataTypeID":${type},"tableID":${src.readUInt32BE(rest)},` +
        `"columnID":${src.readInt16BE(rest + 4)},"dataTypeSize":${src.readInt16BE(rest + 10)},` +
        `"dataTypeModifier":${src.readInt32BE(rest + 12)},"format":"text"}`,
    )
    at = rest + REST
  }
  return { fields: ownCopy(`[${fields.join(',')}]`), types, keys: keysOf(names) }
}

function keysOf(names: readonly string[]): (Buffer | null)[] {
  let isFirst = true
  return names.map((name, place) => {
    if (names.lastIndexOf(name) !== place) return null
    const comma = isFirst ? '' : ','
    isFirst = false
    return ownCopy(`${comma}${name}:`)
  })
}

/**
 * In memory of its own: a piece of Node's pool would keep the rest of it for as long as this is
 * remembered.
 */
function ownCopy(text: string): Buffer {
  const copy = Buffer.allocUnsafeSlow(Buffer.byteLength(text))
  copy.write(text)
  return copy
}
