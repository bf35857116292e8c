// Whether a piece has become slower than it was recorded. Pure.
// Must never compare times: only ratios to the reference loop of the same run.

/** The file recorded.json. */
export interface Recorded {
  readonly node: string
  /** An item may be slower by this share. */
  readonly tolerance: number
  /** Name of an item -> its time / that of the reference loop. */
  readonly ratios: Readonly<Record<string, number>>
}

/** @returns one sentence for each item that is too slow, not recorded, or recorded and gone */
export function complaints(ratios: ReadonlyMap<string, number>, recorded: Recorded): string[] {
  const found: string[] = []
  for (const [name, ratio] of ratios) {
    const known = recorded.ratios[name]
    if (known === undefined) {
      found.push(`${name}: not recorded; run with --record`)
      continue
    }
    const most = known * (1 + recorded.tolerance)
    if (ratio <= most) continue
    found.push(
      `${name}: ${ratio.toFixed(4)} of the reference loop, recorded ${known}, at most ${most.toFixed(4)}`,
    )
  }
  const gone = Object.keys(recorded.ratios).filter((name) => !ratios.has(name))
  return [...found, ...gone.map((name) => `${name}: recorded, but there is no such item; run with --record`)]
}
