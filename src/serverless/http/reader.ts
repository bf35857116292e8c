// Reads what Postgres answers to the one batch of a request, and writes the body of the HTTP answer from
// it, row by row and without an object for any value. It owns the text that was not taken yet, and the
// bytes of a message that has not come whole.
import { FromServer } from '../../wire/protocol.ts'
import type { Statement } from './body.ts'
import { isForeignTag } from './control.ts'
import { type Described, describedBy, NO_COLUMNS } from './described.ts'
import { JsonBuffer } from './json-buffer.ts'
import type { TypeTable } from './types.ts'

const HEADER = 5
const STEP_MIN = 16 * 1024
const COMMA = 0x2c
const OPEN = 0x5b
const CLOSE = 0x5d
const OPEN_OBJECT = 0x7b
const CLOSE_OBJECT = 0x7d
const EMPTY = Buffer.alloc(0)
const IDLE = 0x49

/** What was sent, and how it is to be answered. */
export interface Plan {
  readonly statements: readonly Statement[]
  readonly isBatch: boolean
  /** Statements of ours in front of those of the request. */
  readonly before: number
  readonly isArrayMode: boolean
  /** Null: every value as its text. */
  readonly types: TypeTable | null
}

export class Reader {
  readonly out = new JsonBuffer()
  /** The first ErrorResponse. */
  error: Buffer | null = null
  /** Which statement it answers; null: one of ours. */
  errorIndex: number | null = null
  /** ReadyForQuery came. */
  isDone = false
  /** No transaction was left open. */
  isIdle = false
  /** Postgres wants to copy. */
  isCopy = false
  /** A statement of a batch has ended its transaction. */
  isSplit = false
  /** Types without which it cannot go on: `replay` when they are known. */
  missingTypes: number[] = []
  readonly #plan: Plan
  /** Statements that are answered, ours included. */
  #step = 0
  #rows = 0
  #described: Described = NO_COLUMNS
  #isArrayMode = true
  /** A message that is not whole yet. */
  #carry = EMPTY
  #carried = 0
  /** Whole messages that wait for types. */
  #kept: Buffer[] = []
  #keptBytes = 0

  constructor(plan: Plan) {
    this.#plan = plan
    if (plan.isBatch) this.out.ascii('{"results":[')
  }

  /** Bytes that are kept besides `out`. */
  get held(): number {
    return this.#carried + this.#keptBytes
  }

  /** Of the statements of the request, the one that is being answered; -1: one of ours. */
  get index(): number {
    const index = this.#step - this.#plan.before
    return index < this.#plan.statements.length ? index : -1
  }

  /** More of the answer, in any pieces. `chunk` is not kept. */
  push(chunk: Buffer): void {
    if (this.#carried === 0) {
      const read = this.#read(chunk, 0, chunk.length)
      if (read < chunk.length) this.#carryOn(chunk, read)
      return
    }
    this.#carryOn(chunk, 0)
    const carry = this.#carry
    const read = this.#read(carry, 0, this.#carried)
    if (read === 0) return
    carry.copyWithin(0, read, this.#carried)
    this.#carried -= read
    if (this.#carried === 0) this.#carry = EMPTY
  }

  #carryOn(chunk: Buffer, from: number): void {
    const wanted = this.#carried + chunk.length - from
    if (wanted > this.#carry.length) {
      const grown = Buffer.allocUnsafeSlow(Math.max(STEP_MIN, wanted, this.#carry.length * 2))
      this.#carry.copy(grown, 0, 0, this.#carried)
      this.#carry = grown
    }
    chunk.copy(this.#carry, this.#carried, from)
    this.#carried = wanted
  }

  /** Whole messages. @returns where the first that is not whole begins */
  #read(src: Buffer, start: number, stop: number): number {
    let at = start
    while (at + HEADER <= stop) {
      const end = at + 1 + src.readInt32BE(at + 1)
      if (end > stop || end < at + HEADER) break
      this.#message(src, at, end)
      at = end
    }
    return at
  }

  /** The types are known: goes on with what was kept. */
  replay(): void {
    const kept = this.#kept
    this.missingTypes = []
    this.#kept = []
    this.#keptBytes = 0
    for (const message of kept) this.#message(message, 0, message.length)
  }

  #message(src: Buffer, start: number, stop: number): void {
    const type = src[start]
    if (this.missingTypes.length > 0) {
      this.#keep(src, start, stop)
      return
    }
    // Behind an error nothing but the end is of interest.
    if (this.error !== null && type !== FromServer.ReadyForQuery) return
    switch (type) {
      case FromServer.DataRow:
        if (this.index >= 0) this.#row(src, start + HEADER, stop)
        break
      case FromServer.RowDescription:
        this.#describe(src, start, stop)
        break
      case FromServer.NoData:
        this.#begin(NO_COLUMNS)
        break
      case FromServer.CommandComplete:
        this.#end(src.toString('latin1', start + HEADER, stop - 1))
        break
      case FromServer.EmptyQueryResponse:
        this.#end('')
        break
      case FromServer.ErrorResponse:
        this.error = Buffer.from(src.subarray(start, stop))
        this.errorIndex = this.index < 0 ? null : this.index
        break
      case FromServer.ReadyForQuery:
        this.isIdle = src[start + HEADER] === IDLE
        this.#finish()
        break
      case FromServer.CopyInResponse:
      case FromServer.CopyOutResponse:
      case FromServer.CopyBothResponse:
        this.isCopy = true
        break
      default:
    }
  }

  #keep(src: Buffer, start: number, stop: number): void {
    if (src[start] === FromServer.ReadyForQuery) {
      this.isDone = true
      this.isIdle = src[start + HEADER] === IDLE
    }
    this.#kept.push(Buffer.from(src.subarray(start, stop)))
    this.#keptBytes += stop - start
  }

  #finish(): void {
    this.isDone = true
    if (this.#plan.isBatch) this.out.ascii(']}')
  }

  // ---- one result ----

  #describe(src: Buffer, start: number, stop: number): void {
    const described = describedBy(src, start, stop)
    const missing = this.#plan.types?.unknownOf(described.types) ?? []
    if (missing.length === 0) {
      this.#begin(described)
      return
    }
    this.missingTypes = missing
    this.#keep(src, start, stop)
  }

  #begin(described: Described): void {
    const { out } = this
    const { index } = this
    this.#rows = 0
    this.#described = described
    this.#isArrayMode = this.#plan.statements[index]?.isArrayMode ?? this.#plan.isArrayMode
    if (index > 0) out.byte(COMMA)
    out.ascii('{"fields":')
    out.raw(described.fields, 0, described.fields.length)
    out.ascii(',"rows":[')
  }

  #end(tag: string): void {
    const { index, out } = this
    this.#step++
    if (index < 0) return
    if (this.#plan.isBatch && isForeignTag(tag, this.#plan.statements[index].text)) this.isSplit = true
    const space = tag.indexOf(' ')
    const command = space < 0 ? tag : tag.slice(0, space)
    const count = space < 0 ? '' : tag.slice(tag.lastIndexOf(' ') + 1)
    const rowCount = isDigits(count) ? count : 'null'
    out.ascii(`],"command":"${command}","rowCount":${rowCount},"rowAsArray":${this.#isArrayMode}}`)
  }

  #row(src: Buffer, start: number, stop: number): void {
    const { out } = this
    if (this.#rows++ > 0) out.byte(COMMA)
    if (!this.#isArrayMode) this.#objectRow(src, start)
    else if (this.#plan.types !== null) this.#typedRow(src, start)
    else this.#textRow(src, start, stop)
  }

  /** The usual one. */
  #textRow(src: Buffer, start: number, stop: number): void {
    const { out } = this
    let at = start + 2
    out.byte(OPEN)
    while (at < stop) {
      const size = src.readInt32BE(at)
      at += 4
      if (size < 0) out.ascii('null')
      else {
        out.string(src, at, at + size)
        at += size
      }
      if (at < stop) out.byte(COMMA)
    }
    out.byte(CLOSE)
  }

  #typedRow(src: Buffer, start: number): void {
    const { out } = this
    let at = start + 2
    out.byte(OPEN)
    for (let column = 0; column < this.#described.types.length; column++) {
      if (column > 0) out.byte(COMMA)
      at = this.#value(src, at, column)
    }
    out.byte(CLOSE)
  }

  #objectRow(src: Buffer, start: number): void {
    const { out } = this
    const { keys } = this.#described
    let at = start + 2
    out.byte(OPEN_OBJECT)
    for (let column = 0; column < keys.length; column++) {
      const key = keys[column]
      if (key === null) at += 4 + Math.max(0, src.readInt32BE(at))
      else {
        out.raw(key, 0, key.length)
        at = this.#value(src, at, column)
      }
    }
    out.byte(CLOSE_OBJECT)
  }

  /** @returns where the next one begins */
  #value(src: Buffer, start: number, column: number): number {
    const size = src.readInt32BE(start)
    const at = start + 4
    if (size < 0) {
      this.out.ascii('null')
      return at
    }
    const { types } = this.#plan
    if (types === null) this.out.string(src, at, at + size)
    else types.write(this.out, this.#described.types[column], [src, at, at + size])
    return at + size
  }
}

function isDigits(text: string): boolean {
  if (text === '') return false
  for (let at = 0; at < text.length; at++) {
    const code = text.charCodeAt(at)
    if (code < 0x30 || code > 0x39) return false
  }
  return true
}
