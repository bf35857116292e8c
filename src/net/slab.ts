// Owns the memory for small chunks: reads, and the writes of one turn that are joined. Must never hand out
// the same bytes twice.

const SLAB_SIZE = 64 * 1024

let slab = Buffer.allocUnsafeSlow(SLAB_SIZE)
let used = 0

/** Joins chunks into one buffer of `total` bytes. */
export function join(first: Uint8Array, more: readonly Uint8Array[], total: number): Buffer {
  const target = take(total)
  target.set(first)
  let at = first.length
  for (let i = 0; i < more.length; i++) {
    target.set(more[i], at)
    at += more[i].length
  }
  return target
}

/**
 * Memory for `length` bytes, cut from a slab: cheaper than an allocation of its own for each. A slab is given
 * up when full and is freed with the last piece cut from it.
 */
export function take(length: number): Buffer {
  if (length > SLAB_SIZE / 4) return Buffer.allocUnsafeSlow(length)
  if (used + length > SLAB_SIZE) {
    slab = Buffer.allocUnsafeSlow(SLAB_SIZE)
    used = 0
  }
  const taken = slab.subarray(used, used + length)
  used += length
  return taken
}
