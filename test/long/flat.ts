// Owns: the judgement whether a row of samples rises. Must never be fooled by a start that is cheap or by one
// sample that is large.

const MIB = 1024 * 1024
/** What the median of the last quarter may be above that of the second. */
const GROWTH = 1.1
const SLACK = 8 * MIB
/** Fewer samples have no quarters worth the name. */
export const SAMPLES_MIN = 8

/** @returns '' where the samples (bytes) do not rise, else what they did */
export function rise(samples: readonly number[]): string {
  const quarter = Math.floor(samples.length / 4)
  const second = median(samples.slice(quarter, 2 * quarter))
  const last = median(samples.slice(-quarter))
  if (samples.length < SAMPLES_MIN || last <= second * GROWTH + SLACK) return ''
  return `from ${inMib(second)} in the second quarter to ${inMib(last)} in the last`
}

/** As `12.3 MiB`. */
export function inMib(bytes: number): string {
  return `${(bytes / MIB).toFixed(1)} MiB`
}

function median(numbers: readonly number[]): number {
  const sorted = numbers.toSorted((a, b) => a - b)
  const half = sorted.length >> 1
  if (sorted.length % 2 === 1) return sorted[half] as number
  return ((sorted[half - 1] as number) + (sorted[half] as number)) / 2
}
