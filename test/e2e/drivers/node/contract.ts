// What the programs for Node share: the order of the steps, and values. The steps are those of ../README.md.
// Must never touch a connection.
import { createHash } from 'node:crypto'

export const WHO = process.env.WHO ?? 'a'
export const TEXT = 'caf\u00e9 \u2603 \\ \' " $1 %s'
export const MADE = new Date('2024-02-03T04:05:06.789Z')
export const NAME = `e2e ${WHO}`
export const ITEMS = `items_${WHO}`
export const SHAPE = `shape_${WHO}`
export const NEWS = `news_${WHO}`
export const LARGE = 'select repeat(chr(97 + i % 26), 100000) as t from generate_series(0, 199) i'
export const BIG = 'x'.repeat(20_000_000)
export const BIG_SQL = 'select length(t) as n, md5(t) as m from (select $1::text) as given(t)'
export const SUM = `select ${Array.from({ length: 100 }, (_, i) => `$${i + 1}::int`).join(' + ')} as n`
export const NUMBERS = Array.from({ length: 100 }, (_, i) => i + 1)
export const LITERALS = `select 42::int as a, 9007199254740993::bigint as b,
  12345678901234567890.123456789::numeric as c, 'x'::text as d, '\\x0001feff'::bytea as e,
  '{"a": [1, 2]}'::json as f, '{"a": [1, 2]}'::jsonb as g, '2024-02-03 04:05:06.789+00'::timestamptz as h,
  '2024-02-29'::date::text as i, 1.5::float8 as j, true as k, '{1,2,NULL}'::int[] as l,
  array['a', 'b "c"'] as m, null::int as n, '6ba7b810-9dad-11d1-80b4-00c04fd430c8'::uuid as o,
  'fine'::mood_${WHO} as p`
export const PARAMETERS = `select $1::int as a, $2::bigint as b, $3::numeric as c, $4::text as d,
  $5::bytea as e, $6::jsonb as f, $7::timestamptz as g, $8::float8 as h, $9::bool as i, $10::int[] as j,
  $11::text[] as k, $12::int as l, $13::uuid as m, $14::mood_${WHO} as n`
export const VALUES = [
  42,
  '9007199254740993',
  '12345678901234567890.123456789',
  TEXT,
  Buffer.from([0, 1, 0xfe, 0xff]),
  { a: [1, 2] },
  MADE,
  1.5,
  true,
  [1, 2, null],
  ['a', 'b "c"'],
  null,
  '6ba7b810-9dad-11d1-80b4-00c04fd430c8',
  'fine',
]
export const COUNT = 5000
export const LINES = Array.from({ length: COUNT }, (_, i) => `${i}\t${WHO} row ${i}\n`)

/** Values as texts that say their type as well. */
export function shown(row: object): string[] {
  return Object.values(row).map((value: unknown) => `${typeof value} ${JSON.stringify(value)}`)
}

export function md5(pieces: readonly (string | Uint8Array)[]): string {
  const hash = createHash('md5')
  for (const piece of pieces) hash.update(piece)
  return hash.digest('hex')
}

/** SQLSTATE of the error that comes; drivers and ORMs keep it in `code`, or in that of the cause. */
export async function codeOf(work: PromiseLike<unknown>): Promise<string> {
  try {
    await work
  } catch (cause) {
    const { code, cause: inner } = cause as { code?: string; cause?: { code?: string } }
    return code ?? inner?.code ?? String(cause)
  }
  throw new Error('no error came')
}

/**
 * Asks until 1 comes: what is sent before a driver has noticed that its connection is gone fails as well, or
 * gives nothing.
 */
export async function again(ask: () => Promise<unknown>): Promise<unknown> {
  for (let tries = 1; ; tries++) {
    const answer = await ask().catch((error: unknown) => {
      if (tries === 50) throw error
    })
    if (answer === 1) return answer
    await new Promise((resolve) => setTimeout(resolve, 10))
  }
}

/** Sums up what 4 workers see in 10 transactions each. */
export async function work(transaction: (worker: number) => Promise<number>): Promise<number> {
  const workers = [0, 1, 2, 3].map(async (worker) => {
    let sum = 0
    for (let round = 0; round < 10; round++) sum += await transaction(worker)
    return sum
  })
  return (await Promise.all(workers)).reduce((sum, part) => sum + part, 0)
}

/** Does the steps that are wanted. */
export async function run(steps: Readonly<Record<string, () => Promise<unknown>>>): Promise<void> {
  for (const step of (process.env.STEPS ?? '').split(',')) {
    const saw = (await steps[step]?.()) ?? 'absent'
    process.stdout.write(`${JSON.stringify({ step, saw })}\n`)
  }
}
