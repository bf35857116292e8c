// Regular expressions as Postgres has them in pg_hba.conf and pg_ident.conf, matched in time that grows with
// the text only: the text comes from strangers. Pure; a compiled pattern is plain data.
import { type ByteSet, parseRegex, type Place, RegexError, type RegexNode, WORD } from './regex-syntax.ts'

/** One step of a compiled pattern. */
type Step =
  | { readonly kind: 'set'; readonly set: ByteSet }
  | { readonly kind: 'place'; readonly place: Place }
  /** Goes on at both; `first` is preferred. */
  | { readonly kind: 'fork'; readonly first: number; readonly second: number }
  /** The first group begins or ends here. */
  | { readonly kind: 'mark'; readonly isStart: boolean }
  | { readonly kind: 'done' }

/** A compiled pattern. */
export interface Regex {
  readonly source: string
  readonly steps: readonly Step[]
  readonly groups: number
  /** Whether what the first group has matched is the same here and in Postgres. */
  readonly hasSafeGroup: boolean
}

/** Where the first group of a way through the pattern begins and ends; -1: not yet. */
interface Trail {
  readonly step: number
  readonly start: number
  readonly stop: number
}

/** Enough for every name; a pattern of more steps would take long for each login. */
const MAX_STEPS = 4000

/** @returns why it cannot be used, in words, as a RegexError */
export function compileRegex(source: string): Regex | RegexError {
  try {
    const { root, groups } = parseRegex(binary(source))
    const steps: Step[] = []
    emit(root, steps)
    steps.push({ kind: 'done' })
    return { source, steps, groups, hasSafeGroup: hasSafeGroup(root) }
  } catch (error) {
    if (error instanceof RegexError) return error
    throw error
  }
}

/** Whether it matches anywhere in the text. */
export function regexFits({ steps }: Regex, text: string): boolean {
  return run(steps, binary(text)) !== null
}

/**
 * Matches and cuts out the first group; for patterns with a safe one. @returns null where it does not match;
 * `group` is a binary string, null where the group took no part.
 */
export function regexGroup({ steps }: Regex, text: string): { group: string | null } | null {
  const bytes = binary(text)
  const trail = run(steps, bytes)
  if (trail === null) return null
  return { group: trail.start < 0 || trail.stop < 0 ? null : bytes.slice(trail.start, trail.stop) }
}

/** One char per byte of the UTF-8 text. */
export function binary(text: string): string {
  return Buffer.from(text, 'utf8').toString('latin1')
}

function push(steps: Step[], step: Step): number {
  if (steps.length >= MAX_STEPS) throw new RegexError('regular expression is too complex')
  return steps.push(step) - 1
}

function emit(node: RegexNode, steps: Step[]): void {
  switch (node.kind) {
    case 'set':
    case 'place':
      push(steps, node)
      return
    case 'sequence':
      for (const part of node.parts) emit(part, steps)
      return
    case 'group':
      if (node.index === 1) push(steps, { kind: 'mark', isStart: true })
      emit(node.part, steps)
      if (node.index === 1) push(steps, { kind: 'mark', isStart: false })
      return
    case 'choice':
      emitChoice(node.parts, steps)
      return
    case 'repeat':
      emitRepeat(node, steps)
  }
}

function emitChoice(parts: readonly RegexNode[], steps: Step[]): void {
  const ends: number[] = []
  for (const [i, part] of parts.entries()) {
    if (i === parts.length - 1) {
      emit(part, steps)
      continue
    }
    const fork = push(steps, { kind: 'fork', first: steps.length + 1, second: 0 })
    emit(part, steps)
    ends.push(push(steps, { kind: 'fork', first: 0, second: 0 }))
    steps[fork] = { kind: 'fork', first: fork + 1, second: steps.length }
  }
  for (const end of ends) steps[end] = { kind: 'fork', first: steps.length, second: steps.length }
}

function emitRepeat(node: RegexNode & { kind: 'repeat' }, steps: Step[]): void {
  const { part, min, max, isLazy } = node
  for (let i = 0; i < min; i++) {
    const before = steps.length
    emit(part, steps)
    // Nothing stays nothing however often it is repeated; in a repetition of repetitions that is very often.
    if (steps.length === before) break
  }
  const forks: number[] = []
  if (max === Number.POSITIVE_INFINITY) {
    const fork = push(steps, { kind: 'fork', first: 0, second: 0 })
    forks.push(fork)
    emit(part, steps)
    push(steps, { kind: 'fork', first: fork, second: fork })
  } else {
    for (let i = min; i < max; i++) {
      forks.push(push(steps, { kind: 'fork', first: 0, second: 0 }))
      emit(part, steps)
    }
  }
  const out = steps.length
  for (const fork of forks) {
    steps[fork] = isLazy
      ? { kind: 'fork', first: out, second: fork + 1 }
      : { kind: 'fork', first: fork + 1, second: out }
  }
}

/** Follows all ways through the pattern at once, the preferred ones first. */
function run(steps: readonly Step[], text: string): Trail | null {
  let trails: Trail[] = []
  for (let at = 0; ; at++) {
    const seen = new Set<number>()
    const here: Trail[] = []
    for (const trail of trails) follow({ steps, text, at, seen, here }, trail)
    follow({ steps, text, at, seen, here }, { step: 0, start: -1, stop: -1 })
    trails = []
    for (const trail of here) {
      const step = steps[trail.step] as Step
      if (step.kind === 'done') return trail
      if (step.kind === 'set' && at < text.length && step.set[text.charCodeAt(at)] === true) {
        trails.push({ ...trail, step: trail.step + 1 })
      }
    }
    if (at >= text.length) return null
  }
}

interface Reach {
  readonly steps: readonly Step[]
  readonly text: string
  readonly at: number
  readonly seen: Set<number>
  readonly here: Trail[]
}

/** Adds what can be reached from a trail without a byte. */
function follow(reach: Reach, from: Trail): void {
  const { steps, seen, here, at } = reach
  const open = [from]
  for (let trail = open.pop(); trail !== undefined; trail = open.pop()) {
    if (seen.has(trail.step)) continue
    seen.add(trail.step)
    const step = steps[trail.step] as Step
    if (step.kind === 'set' || step.kind === 'done') here.push(trail)
    else if (step.kind === 'fork') {
      if (step.second !== step.first) open.push({ ...trail, step: step.second })
      open.push({ ...trail, step: step.first })
    } else if (step.kind === 'mark') {
      const marked = step.isStart ? { ...trail, start: at } : { ...trail, stop: at }
      open.push({ ...marked, step: trail.step + 1 })
    } else if (isThere(step.place, reach.text, at)) {
      open.push({ ...trail, step: trail.step + 1 })
    }
  }
}

function isThere(place: Place, text: string, at: number): boolean {
  const before = at > 0 && WORD[text.charCodeAt(at - 1)] === true
  const behind = at < text.length && WORD[text.charCodeAt(at)] === true
  switch (place) {
    case 'start':
      return at === 0
    case 'end':
      return at === text.length
    case 'word-start':
      return !before && behind
    case 'word-end':
      return before && !behind
    case 'word-edge':
      return before !== behind
    case 'no-word-edge':
      return before === behind
  }
}

/**
 * Postgres prefers the longest match, we the first one. For a group that is no matter where the pattern spans
 * the whole text, has no alternatives, and the group is not repeated.
 */
function hasSafeGroup(root: RegexNode): boolean {
  if (root.kind !== 'sequence') return false
  const first = root.parts[0]
  const last = root.parts.at(-1)
  const spans = first?.kind === 'place' && first.place === 'start'
  const ends = last?.kind === 'place' && last.place === 'end' && root.parts.length > 1
  return (
    spans && ends && root.parts.some((part) => part.kind === 'group' && part.index === 1) && isPlain(root)
  )
}

function isPlain(node: RegexNode): boolean {
  if (node.kind === 'choice') return false
  if (node.kind === 'group') return isPlain(node.part)
  if (node.kind === 'repeat') return !node.isLazy && node.part.kind === 'set'
  return node.kind !== 'sequence' || node.parts.every(isPlain)
}
