// The files of the page: a closed list, read once. It owns their bytes; no name that somebody asks for ever
// becomes a path.
import { createHash } from 'node:crypto'
import { readdirSync, readFileSync } from 'node:fs'
import { createRequire } from 'node:module'

const FOLDER = new URL('../page/', import.meta.url)
const INDEX = 'index.html'

const TYPES: Readonly<Record<string, string>> = {
  html: 'text/html; charset=utf-8',
  js: 'text/javascript; charset=utf-8',
  css: 'text/css; charset=utf-8',
  svg: 'image/svg+xml',
}

/** Of the package `uplot`, as the page names them. */
const OF_UPLOT: readonly (readonly [name: string, file: string])[] = [
  ['uplot.js', 'uplot/dist/uPlot.esm.js'],
  ['uplot.css', 'uplot/dist/uPlot.min.css'],
]

/** One file, as it is sent. */
export interface Page {
  readonly type: string
  readonly bytes: Buffer
  readonly etag: string
}

export class Pages {
  readonly #all = new Map<string, Page>()
  readonly index: Page

  /** @throws where the files are not there */
  constructor() {
    for (const name of readdirSync(FOLDER)) this.#add(name, readFileSync(new URL(name, FOLDER)))
    const require = createRequire(import.meta.url)
    for (const [name, file] of OF_UPLOT) this.#add(name, readFileSync(require.resolve(file)))
    const index = this.#all.get(INDEX)
    if (index === undefined) throw new Error(`the page of the dashboard has no ${INDEX}`)
    this.index = index
    this.#all.delete(INDEX)
  }

  #add(name: string, bytes: Buffer): void {
    const type = TYPES[name.slice(name.lastIndexOf('.') + 1)]
    if (type === undefined) return
    const etag = `"${createHash('sha256').update(bytes).digest('base64url')}"`
    this.#all.set(name, { type, bytes, etag })
  }

  /** @param name behind `/dashboard/` */
  find(name: string): Page | null {
    return this.#all.get(name) ?? null
  }
}
