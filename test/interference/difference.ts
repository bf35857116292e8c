// Owns: finding the first request that was answered otherwise, and saying so. Must never look past it.
import type { Told } from './actor.ts'

/** @param isWhole has the run come to its end? Then it has as many requests. */
export function firstDifference(
  expected: readonly Told[],
  actual: readonly Told[],
  isWhole: boolean,
): string | null {
  for (const [index, told] of actual.entries()) {
    const want = expected[index]
    if (want === undefined) return `line ${told.at}: one request too many`
    const at = told.lines.findIndex((line, place) => line !== want.lines[place])
    if (at < 0 && told.lines.length === want.lines.length) continue
    const both = list('direct', want.lines) + list('pooled', told.lines)
    return `line ${told.at}: ${told.asked.slice(0, 400)}\n${both}`
  }
  if (!isWhole || actual.length === expected.length) return null
  const next = expected[actual.length] as Told
  return `line ${next.at}: ${next.asked.slice(0, 400)} was not reached`
}

function list(name: string, lines: readonly string[]): string {
  return `  ${name}:\n${lines.map((line) => `    ${line.slice(0, 1000)}\n`).join('')}`
}
