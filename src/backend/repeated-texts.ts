// Texts that clients send in a Parse of the unnamed statement again and again: on a shared server such a text
// is prepared once, and then run by name. It owns which texts these are. It never gives out a statement for a
// text, declared types or settings other than those that it was prepared with, nor one that was prepared
// before the database changed.
import type { Settings } from '../session/settings.ts'
import type { Registry } from '../session/registry.ts'
import { Definition, ownCopy } from '../session/statements.ts'
import { plainEffects } from '../sql/effects.ts'
import type { Shape } from '../sql/shapes.ts'

/** It came so often without another between: then it is prepared. Drivers do that after as many. */
const OFTEN = 5
/** So many texts in a row that were not the one before: its constants change. */
const CHANGES_MAX = 50
/** After so many more it is looked again. */
const RESTS = 10_000
/** Of one pool; beyond them the oldest go. */
const TEXTS_MAX = 500
const NO_EFFECTS = plainEffects(0)

/** Where the text of a Parse of the unnamed statement begins in its exchange, and where the Parse ends. */
interface ParsePlace {
  readonly textStart: number
  readonly bindStart: number
}

class Repeated {
  /** Of its Parse, behind the name; replaced as a whole, since a definition may keep it. */
  body: Buffer
  count = 1
  changes = 0
  /** So many more are sent as they are. */
  rests = 0
  parseKey: number
  definition: Definition | null = null

  constructor(body: Buffer, parseKey: number) {
    this.body = body
    this.parseKey = parseKey
  }

  rest(): void {
    this.rests = RESTS
    this.changes = 0
    this.count = 0
  }
}

export class RepeatedTexts {
  readonly #registry: Registry
  readonly #texts = new Map<Shape, Repeated>()
  /** The knowledge of the database under which all of them were prepared. */
  #version = 0

  constructor(registry: Registry) {
    this.#registry = registry
  }

  /** What is known of the database; where that is new, all that was prepared may mean something else now. */
  follow(version: number): void {
    if (version === this.#version) return
    this.#version = version
    for (const known of this.#texts.values()) {
      this.#drop(known)
      known.count = 0
    }
  }

  /**
   * The statement to run in place of the Parse that `src` begins with; null: it is sent as it is. `follow`
   * must have been told of the database before.
   */
  find(
    shape: Shape,
    { parseKey }: Settings,
    src: Buffer,
    { textStart: start, bindStart: stop }: ParsePlace,
  ): Definition | null {
    const known = this.#texts.get(shape)
    if (known === undefined) {
      this.#add(shape, new Repeated(ownCopy(src.subarray(start, stop)), parseKey))
      return null
    }
    if (known.rests > 0) {
      known.rests--
      return null
    }
    const isSame =
      known.body.length === stop - start &&
      src.compare(known.body, 0, known.body.length, start, stop) === 0 &&
      known.parseKey === parseKey
    if (isSame) {
      known.changes = 0
      if (known.definition === null && ++known.count > OFTEN) known.definition = this.#prepare(known)
      return known.definition
    }
    this.#drop(known)
    known.body = ownCopy(src.subarray(start, stop))
    known.parseKey = parseKey
    known.count = 1
    if (++known.changes === CHANGES_MAX) known.rest()
    return null
  }

  /** It does worse this way, or may: for a while it is sent as it is. */
  spoil(shape: Shape): void {
    const known = this.#texts.get(shape)
    if (known === undefined) return
    this.#drop(known)
    known.rest()
  }

  #prepare({ body, parseKey }: Repeated): Definition | null {
    const key = `repeated\0${this.#version}\0${parseKey}\0${body.toString('latin1')}`
    // Found by nobody else, and gone with its last use: the key of its settings is not its own.
    return this.#registry.acquireAs(key, (id) => new Definition(id, body, NO_EFFECTS, { key, parseKey: 0 }))
  }

  #add(shape: Shape, text: Repeated): void {
    if (this.#texts.size >= TEXTS_MAX) {
      for (const [oldest, known] of this.#texts) {
        this.#drop(known)
        this.#texts.delete(oldest)
        break
      }
    }
    this.#texts.set(shape, text)
  }

  #drop(known: Repeated): void {
    if (known.definition === null) return
    this.#registry.release(known.definition)
    known.definition = null
  }
}
