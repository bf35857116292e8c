// The startup parameter `replication`, read as Postgres reads it. Pure.

const WORDS: readonly (readonly [word: string, least: number, value: boolean])[] = [
  ['true', 1, true],
  ['false', 1, false],
  ['yes', 1, true],
  ['no', 1, false],
  ['on', 2, true],
  ['off', 2, false],
]

/**
 * Does this value ask for replication? Source: ProcessStartupPacket() and parse_bool().
 * @returns null for a value that Postgres refuses.
 */
export function replicationOf(value: string): boolean | null {
  if (value === 'database') return true
  if (value === '1' || value === '0') return value === '1'
  const lower = value.toLowerCase()
  for (const [word, least, meaning] of WORDS) {
    if (lower.length >= least && word.startsWith(lower)) return meaning
  }
  return null
}
