// The large buffers that sockets are read into, and who still needs one. A buffer whose bytes the kernel has
// taken from us is read into again: new memory for each read would have V8 collect its whole heap again and
// again while a large result passes. It owns the spare ones. Must never give out one that somebody keeps.

/** As much as Node reads at once by itself. */
export const LENT_BYTES: number = 64 * 1024
/** Bytes that come or go together in this number are worth a way of their own: lent, and written at once. */
export const LARGE_BYTES: number = 4 * 1024
const SPARE_MAX = 32
/** Sockets that may have one at a time: it stays with one that has become silent, until it reads again. */
const HOLDERS_MAX = 256

/** A buffer, and how many streams keep bytes of it beyond the call in which they got them. */
export class Lent {
  readonly bytes: Buffer = Buffer.allocUnsafeSlow(LENT_BYTES)
  keeps = 0
}

/** The one whose bytes are being handed out in this moment. */
let current: Lent | null = null
const spare: Lent[] = []

let holders = 0

/** A place among those that may read into lent buffers. @returns false: there are enough of them */
export function takePlace(): boolean {
  if (holders >= HOLDERS_MAX) return false
  holders++
  return true
}

/** The place is free again. */
export function leavePlace(): void {
  holders--
}

/** @returns one that nobody keeps */
export function borrow(): Lent {
  return spare.pop() ?? new Lent()
}

/** Nobody needs it any more. */
export function giveBack(lent: Lent): void {
  if (spare.length < SPARE_MAX) spare.push(lent)
}

/** Emits 'data' with a part of `lent`; streams that keep what they are given of it say so in the meantime. */
export function lend(
  lent: Lent,
  socket: { emit(event: 'data', chunk: Buffer): unknown } | null,
  chunk: Buffer,
): void {
  current = lent
  try {
    socket?.emit('data', chunk)
  } finally {
    current = null
  }
}

/**
 * For a stream that keeps these bytes after it has returned.
 * @returns what to give to `release` when they are not needed any more; null: they were not lent. Not to
 * release is safe: the garbage collector does it.
 */
export function keep(bytes: Uint8Array): Lent | null {
  if (current === null || bytes.buffer !== current.bytes.buffer) return null
  current.keeps++
  return current
}

/** The bytes of a `keep` are not needed any more. */
export function release(lent: Lent): void {
  lent.keeps--
  if (lent.keeps === 0 && lent !== current) giveBack(lent)
}
