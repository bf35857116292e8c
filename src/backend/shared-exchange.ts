// One exchange of a client that runs beside those of others, and how it is read from what a client has
// sent. It owns the client's bytes until the first byte of an answer was handed on. It never takes half an
// exchange.
import type { Sharer, SharedWork } from '../pool/sharing.ts'
import { type Definition, NamedStatement } from '../session/statements.ts'
import { Unnamed } from '../session/virtual-session.ts'
import { FIRST_OID } from '../sql/catalogue-queries.ts'
import type { Shape } from '../sql/shapes.ts'
import type { Framer } from '../wire/framer.ts'
import { FromClient } from '../wire/protocol.ts'
import { nameOf } from './names.ts'

/** Longest exchange that is shared. */
export const SHARED_BYTES_MAX = 16 * 1024
const HEADER = 5
const PORTAL = 0x50

/** How an exchange is put. */
export const Form = { None: 0, Query: 1, Unnamed: 2, Named: 3 } as const

/** What `read` has found. */
export class Reading {
  form: number = Form.None
  /** All messages, the last included. */
  size = 0
  /** Where the text stands, from the first message's beginning; of a named statement there is none. */
  textStart = 0
  textEnd = 0
  /** Where the Bind begins, and where the name of its statement stands in it. */
  bindStart = 0
  nameStart = 0
  nameEnd = 0

  /**
   * Looks at the exchange that begins with the message given out last: a Query, or [Parse] Bind [Describe]
   * Execute Sync of the unnamed portal, all of it here in one piece.
   */
  read(framer: Framer): number {
    this.form = Form.None
    const { src, start, stop, type } = framer
    if (framer.rest > 0) return Form.None
    if (type === FromClient.Query) {
      const end = src.indexOf(0, start + HEADER)
      if (stop - start > SHARED_BYTES_MAX || end !== stop - 1) return Form.None
      this.size = stop - start
      this.textStart = HEADER
      this.textEnd = end - start
      this.form = Form.Query
    } else if (type === FromClient.Parse || type === FromClient.Bind) {
      const end = framer.ahead(SHARED_BYTES_MAX)
      if (end > 0) this.#readBatch(src, start, end)
    }
    return this.form
  }

  #readBatch(src: Buffer, start: number, end: number): void {
    let at = start
    const hasParse = src[at] === FromClient.Parse
    if (hasParse) {
      const stop = stopOf(src, at)
      const textEnd = src.indexOf(0, at + HEADER + 1)
      // Of the unnamed statement only.
      if (stop > end || src[at + HEADER] !== 0 || textEnd < 0 || textEnd >= stop) return
      if (!hasOnlyOwnTypes(src, textEnd + 1, stop)) return
      this.textStart = at + HEADER + 1 - start
      this.textEnd = textEnd - start
      at = stop
    }
    const stop = stopOf(src, at)
    if (at + HEADER > end || stop > end || src[at] !== FromClient.Bind || src[at + HEADER] !== 0) return
    const nameEnd = src.indexOf(0, at + HEADER + 1)
    if (nameEnd < 0 || nameEnd >= stop) return
    const hasName = nameEnd > at + HEADER + 1
    if (hasName === hasParse) return
    this.bindStart = at - start
    this.nameStart = at + HEADER + 1 - start
    this.nameEnd = nameEnd - start
    at = stop
    if (isDescribe(src, at, end)) at = stopOf(src, at)
    if (!isExecute(src, at, end)) return
    at = stopOf(src, at)
    if (at + HEADER !== end || src[at] !== FromClient.Sync) return
    this.size = end - start
    this.form = hasParse ? Form.Unnamed : Form.Named
  }

  /** The statement that the Bind names, one character a byte. */
  statementOf({ src, start }: Framer): string {
    return nameOf(src, start + this.nameStart, start + this.nameEnd)
  }
}

/**
 * Are the types that a Parse declares for its parameters all of Postgres itself? A domain of the database may
 * call anything.
 * @param start where they begin, behind the text
 */
export function hasOnlyOwnTypes(src: Buffer, start: number, stop: number): boolean {
  for (let at = start + 2; at + 4 <= stop; at += 4) if (src.readUInt32BE(at) >= FIRST_OID) return false
  return true
}

function stopOf(src: Buffer, at: number): number {
  return at + 1 + ((src[at + 1] << 24) | (src[at + 2] << 16) | (src[at + 3] << 8) | src[at + 4])
}

/** Describe of the unnamed portal. */
function isDescribe(src: Buffer, at: number, end: number): boolean {
  if (at + HEADER + 2 > end || src[at] !== FromClient.Describe || stopOf(src, at) !== at + HEADER + 2)
    return false
  return src[at + HEADER] === PORTAL && src[at + HEADER + 1] === 0
}

/** Execute of the unnamed portal to its end. */
function isExecute(src: Buffer, at: number, end: number): boolean {
  const stop = at + HEADER + HEADER
  if (stop > end || src[at] !== FromClient.Execute || stopOf(src, at) !== stop || src[at + HEADER] !== 0)
    return false
  return src[at + 6] === 0 && src[at + 7] === 0 && src[at + 8] === 0 && src[at + 9] === 0
}

/** Where it runs. */
export interface WorksOff {
  cancel(exchange: SharedExchange, onOver: () => void): void
  forget(exchange: SharedExchange): void
  isMidMessage(exchange: SharedExchange): boolean
  resume(): void
  giveUp(): void
}

export class SharedExchange implements SharedWork {
  /** null: nobody's any more, and its answer is swallowed. */
  client: Sharer | null
  /** As the client has sent it. */
  readonly bytes: Buffer
  readonly shape: Shape
  /** What becomes the client's unnamed statement. */
  readonly unnamed: Unnamed | null
  /** The named statement that it runs. */
  readonly statement: NamedStatement | null
  /** What it runs by name on its server; null: Postgres is sent what the client has sent. */
  definition: Definition | null = null
  /** Something of its answer was handed on. */
  isForwarded = false
  /** What came of its answer and may be taken back. */
  kept: Buffer | null = null
  since = 0
  #at: WorksOff | null = null

  constructor(client: Sharer, bytes: Buffer, shape: Shape, of: Unnamed | NamedStatement | null) {
    this.client = client
    this.bytes = bytes
    this.shape = shape
    this.unnamed = of instanceof Unnamed ? of : null
    this.statement = of instanceof NamedStatement ? of : null
  }

  /** It is under way. */
  begins(at: WorksOff, now: number): void {
    this.#at = at
    this.since = now
    if (this.client !== null) this.client.shared = this
  }

  /** Its Parse was left out: its server has the statement. */
  get isParsed(): boolean {
    return this.unnamed !== null && this.definition !== null
  }

  get isMidMessage(): boolean {
    return this.#at?.isMidMessage(this) === true
  }

  /** Its client has nothing to do with it any more. @returns that client */
  letGo(): Sharer | null {
    const { client } = this
    this.client = this.kept = null
    if (client !== null) client.shared = null
    return client
  }

  resume(): void {
    this.#at?.resume()
  }

  cancel(onOver: () => void): void {
    this.#at?.cancel(this, onOver)
  }

  giveUp(): void {
    this.#at?.giveUp()
  }

  forget(): void {
    this.#at?.forget(this)
  }
}

/** The messages of an exchange from its Bind on, with the name that the server has for its statement. */
export function boundTo(name: string, bytes: Buffer, { bindStart, nameStart, nameEnd }: Reading): Buffer {
  const grown = name.length - (nameEnd - nameStart)
  const made = Buffer.allocUnsafe(bytes.length - bindStart + grown)
  bytes.copy(made, 0, bindStart, nameStart)
  made.write(name, nameStart - bindStart, 'latin1')
  bytes.copy(made, nameStart - bindStart + name.length, nameEnd)
  made.writeInt32BE(bytes.readInt32BE(bindStart + 1) + grown, 1)
  return made
}
