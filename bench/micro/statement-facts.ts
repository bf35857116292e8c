// What it costs to understand a statement: the scanner, a text that is known, one that is not, the grammar.
// node bench/micro/statement-facts.ts. Figures are in docs/design/statement-facts.md.

import { readFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import Benchmark from 'benchmark'
import { FactBook } from '../../src/sql/fact-book.ts'
import { Grammar } from '../../src/sql/grammar.ts'
import { STANDARD, UTF8 } from '../../src/sql/lexer.ts'
import { readTree } from '../../src/sql/read-tree.ts'
import { type Reading, scanFacts } from '../../src/sql/scanner.ts'

const READING: Reading = { flags: STANDARD | UTF8, marked: null }
const QUERY =
  'select u.id, u.name, u.email, o.total from users u join orders o on o.user_id = u.id ' +
  'where u.id = $1 limit 10'
const TEXTS: Readonly<Record<string, string>> = {
  'a plain query': QUERY,
  'a short one': 'select 1',
  'an insert': 'insert into events (kind, payload, created_at) values ($1, $2, now()) returning id',
  'a long string': `insert into blobs values ('${'x'.repeat(4_000)}')`,
  'many words': `${QUERY} -- ${'word '.repeat(800)}\n`,
}
const JUDGED: Readonly<Record<string, string>> = {
  'SET search_path': 'set search_path = tenant_17, public',
  set_config: "select set_config('app.tenant', $1, true)",
  'the plain query': QUERY,
  '1 KiB': `select ${list(120)} from t`,
  '16 KiB': `select ${list(1_950)} from t`,
}

/** Short samples: some of them then meet no other work of the machine. */
const SHORT = { minTime: 0.002, minSamples: 300, maxTime: 3 }

/** As many columns, each with an expression. */
function list(count: number): string {
  return Array.from({ length: count }, (_, i) => `a${i % 10} + ${i % 10}`).join(', ')
}

const wasm = fileURLToPath(import.meta.resolve('libpg-query/wasm/libpg-query.wasm'))
const grammar = await Grammar.open(readFileSync(wasm))
const suite = new Benchmark.Suite()
/** Bytes of the text of each benchmark. */
const sizes = new Map<string, number>()

function add(name: string, text: string, run: (bytes: Buffer) => void): void {
  const bytes = Buffer.from(text)
  sizes.set(name, bytes.length)
  suite.add(name, () => run(bytes), SHORT)
}

for (const [name, text] of Object.entries(TEXTS)) {
  add(`scan ${name}`, text, (bytes) => scanFacts(bytes, 0, bytes.length, READING))
}

const known = new FactBook(grammar, { bytesMax: 1 << 20 })
add('look up a known text', QUERY, (bytes) => known.look(bytes, 0, bytes.length, READING))

const fresh = new FactBook(grammar, { bytesMax: 1 << 20 })
let count = 0
add('look up a new text', `${QUERY}12345678`, (bytes) => {
  bytes.writeUInt32LE((count++ % 1e9) | 0x20202020, bytes.length - 8)
  bytes.writeUInt32LE(((count >>> 8) & 0x0f0f0f0f) | 0x40404040, bytes.length - 4)
  fresh.look(bytes, 0, bytes.length, READING)
})

for (const [name, text] of Object.entries(JUDGED)) {
  add(`grammar: ${name}`, text, (bytes) => {
    const tree = grammar.parse(bytes, READING.flags)
    if (tree !== null && tree !== 'unread') readTree(tree)
  })
}

/** The best sample too: on a machine that does other work, the mean is of that work as well. */
suite.on('cycle', ({ target }: { target: Benchmark }) => {
  const name = target.name ?? ''
  const size = sizes.get(name) ?? 1
  const { mean, sample } = target.stats!
  const shown = [mean, Math.min(...sample)].map((seconds) => (seconds * 1e6).toFixed(2).padStart(10))
  const each = ((Math.min(...sample) * 1e8) / size).toFixed(2)
  process.stdout.write(
    `${name.padEnd(26)} ${String(size).padStart(6)} B ${shown.join('')} us ${each.padStart(8)}\n`,
  )
})
process.stdout.write('                                          mean      best    best, us/100 B\n')
suite.run()
