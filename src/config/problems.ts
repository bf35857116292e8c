// The problems of a configuration: collecting them, and saying which known name was probably meant.
// Pure. Texts given to it must not hold secrets.

/** What is wrong with a configuration: all of it, one line per problem. */
export class ConfigError extends Error {
  readonly problems: readonly string[]

  constructor(problems: readonly string[]) {
    super(problems.join('\n'))
    this.name = 'ConfigError'
    this.problems = problems
  }
}

/** Number of single-letter changes (insert, delete, replace, swap neighbours) from `a` to `b`. */
function editDistance(a: string, b: string): number {
  let beforeLast: number[] = []
  let last = Array.from({ length: b.length + 1 }, (_, i) => i)
  for (let i = 1; i <= a.length; i++) {
    const row = [i]
    for (let j = 1; j <= b.length; j++) {
      const same = a[i - 1] === b[j - 1]
      let best = Math.min(last[j]! + 1, row[j - 1]! + 1, last[j - 1]! + (same ? 0 : 1))
      if (i > 1 && j > 1 && a[i - 1] === b[j - 2] && a[i - 2] === b[j - 1]) {
        best = Math.min(best, beforeLast[j - 2]! + 1)
      }
      row.push(best)
    }
    beforeLast = last
    last = row
  }
  return last[b.length]!
}

/** The known name nearest to `name`, or null when none is near enough to be a slip of the finger. */
export function nearestName(name: string, known: readonly string[]): string | null {
  const plain = (text: string): string => text.slice(0, 64).toLowerCase().replaceAll('-', '_')
  let best: string | null = null
  let bestDistance = Number.POSITIVE_INFINITY
  for (const candidate of known) {
    const distance = editDistance(plain(name), plain(candidate))
    if (distance < bestDistance) {
      best = candidate
      bestDistance = distance
    }
  }
  return bestDistance <= Math.max(1, Math.ceil(name.length / 3)) ? best : null
}

/** "unknown key", with the way out. */
export function unknownName(name: string, known: readonly string[], what: string): string {
  const near = nearestName(name, known)
  if (near !== null) return `unknown ${what}, did you mean "${near}"?`
  return known.length <= 25 ? `unknown ${what}; known here: ${known.join(', ')}` : `unknown ${what}`
}
