// Owns: the ways of cutting a buffer into pieces, to prove that no reader depends on where chunks
// end. Must never change or drop a byte: the pieces joined are always the input.

import type { Prng } from './prng.ts'

/** The buffer in one piece (no piece for an empty buffer). */
export function whole(bytes: Buffer): Buffer[] {
  return bytes.length === 0 ? [] : [bytes]
}

/** Pieces of `size` bytes, the last may be shorter. Size 1 is byte by byte. */
export function every(bytes: Buffer, size: number): Buffer[] {
  const pieces: Buffer[] = []
  for (let at = 0; at < bytes.length; at += size) pieces.push(bytes.subarray(at, at + size))
  return pieces
}

/** Longest buffer that `crumbs` cuts up as a whole, and how much of each end of a longer one. */
const CRUMBS_MAX = 1024
const EDGE = 16

/** Single bytes; of a long buffer only both ends, or large results would take hours. */
export function crumbs(bytes: Buffer): Buffer[] {
  if (bytes.length <= CRUMBS_MAX) return every(bytes, 1)
  const ends = [bytes.subarray(0, EDGE), bytes.subarray(-EDGE)] as const
  return [...every(ends[0], 1), bytes.subarray(EDGE, -EDGE), ...every(ends[1], 1)]
}

/** Pieces between these offsets; offsets outside the buffer and repeated ones are left out. */
export function at(bytes: Buffer, cuts: readonly number[]): Buffer[] {
  const inside = [...new Set(cuts)].filter((cut) => cut > 0 && cut < bytes.length).sort((a, b) => a - b)
  const ends = [...inside, bytes.length]
  return ends
    .map((end, i) => bytes.subarray(i === 0 ? 0 : ends[i - 1], end))
    .filter((piece) => piece.length > 0)
}

/** Offsets of seeded cuts; each inner offset is one with this probability. */
export function seededCuts(bytes: Buffer, random: Prng, probability = 0.1): number[] {
  const cuts: number[] = []
  for (let offset = 1; offset < bytes.length; offset++) if (random.chance(probability)) cuts.push(offset)
  return cuts
}

/** Seeded pieces. */
export function seeded(bytes: Buffer, random: Prng, probability = 0.1): Buffer[] {
  return at(bytes, seededCuts(bytes, random, probability))
}

/** Each way of cutting the buffer in two, one after the other. */
export function* everySplit(bytes: Buffer): Generator<[Buffer, Buffer]> {
  for (let cut = 1; cut < bytes.length; cut++) yield [bytes.subarray(0, cut), bytes.subarray(cut)]
}
