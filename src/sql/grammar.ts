// Owns the instance of Postgres' own grammar (libpg-query, compiled to WebAssembly): makes it, feeds it bytes
// and renews it when it has broken or has become big. It blocks while it works, so callers bound the length
// and the number of texts per turn. It never throws because of a text, and never keeps one.

import { transcode, transcodedMax } from './transcode.ts'

/** A node of a syntax tree, as libpg_query writes it. */
export interface Tree {
  readonly [key: string]: unknown
}

/** What the grammar says: the tree; null: not SQL, as far as it knows; 'unread': it could not be asked. */
export type Parsed = Tree | null | 'unread'

/** What we use of the module that Emscripten made. */
interface Instance {
  readonly HEAPU8: Uint8Array
  readonly HEAPU32: Uint32Array
  _malloc(size: number): number
  _free(pointer: number): void
  _wasm_parse_query_raw(text: number): number
  _wasm_free_parse_result(result: number): void
  UTF8ToString(pointer: number): string
}

type Exports = object
type Compiled = object
/** The part of WebAssembly that TypeScript's library for programs without a browser does not declare. */
declare const WebAssembly: {
  compile(bytes: Uint8Array): Promise<Compiled>
  readonly Instance: new (module: Compiled, imports: object) => Exports
}

type MakeInstance = (options: {
  instantiateWasm(imports: object, done: (instance: Exports) => void): object
  print(): void
  printErr(): void
}) => Promise<Instance>

/** An instance that has used this much more than it began with is thrown away: its memory never shrinks. */
const GROWTH_MAX = 64 * 1024 * 1024

export class Grammar {
  readonly #module: Compiled
  readonly #make: MakeInstance
  /** null while a new one is made. */
  #instance: Instance | null = null
  /** Where its heap began, and how much memory it had then. */
  #base = 0
  #size = 0
  #growthMax = GROWTH_MAX
  /** Times that an instance was replaced. */
  renewals = 0

  private constructor(module: Compiled, make: MakeInstance) {
    this.#module = module
    this.#make = make
  }

  /**
   * Compiles it, off the main thread, and makes the first instance.
   * @param wasm the contents of libpg-query/wasm/libpg-query.wasm
   */
  static async open(wasm: Uint8Array, growthMax = GROWTH_MAX): Promise<Grammar> {
    // @ts-expect-error: the package has no types for this file; it is here to choose how instances are made.
    const { default: make } = (await import('libpg-query/wasm/libpg-query.js')) as { default: MakeInstance }
    const grammar = new Grammar(await WebAssembly.compile(wasm), make)
    grammar.#growthMax = growthMax
    await grammar.#start()
    return grammar
  }

  async #start(): Promise<void> {
    const instance = await this.#make({
      instantiateWasm: (imports, done) => {
        done(new WebAssembly.Instance(this.#module, imports))
        return {}
      },
      print: () => {},
      printErr: () => {},
    })
    this.#base = instance._malloc(1)
    this.#size = instance.HEAPU8.length
    instance._free(this.#base)
    this.#instance = instance
  }

  /** A new instance is there a few steps of the event loop later; if there is no memory for one, never. */
  #renew(): void {
    this.#instance = null
    this.renewals++
    this.#start().catch(() => {})
  }

  /** @param flags how to read it (`Reading.flags`) */
  parse(text: Buffer, flags: number): Parsed {
    const instance = this.#instance
    if (instance === null) return 'unread'
    try {
      const bytes = instance._malloc(transcodedMax(text.length) + 1)
      if (bytes === 0) throw new RangeError('no memory')
      const written = transcode(text, flags, instance.HEAPU8, bytes)
      if (written < 0) {
        instance._free(bytes)
        return 'unread'
      }
      instance.HEAPU8[bytes + written] = 0
      const result = instance._wasm_parse_query_raw(bytes)
      // struct { char *tree; char *stderr; Error *error; }
      const words = instance.HEAPU32
      const tree = words[result >> 2]
      const parsed = words[(result + 8) >> 2] === 0 ? read(instance, tree) : null
      instance._free(bytes)
      instance._wasm_free_parse_result(result)
      const top = Math.max(result, tree, bytes)
      if (top - this.#base > this.#growthMax || instance.HEAPU8.length > this.#size) this.#renew()
      return parsed
    } catch {
      // Its stack is as deep as ours (a text with thousands of operators), and it cannot unwind.
      this.#renew()
      return null
    }
  }
}

function read(instance: Instance, tree: number): Tree {
  return JSON.parse(instance.UTF8ToString(tree)) as Tree
}
