// Reads the files that a configuration names, while clients are being served: whatever stands there, reading
// it comes to an end. A pipe would be waited for, and a device may have no end.
import { closeSync, constants, fstatSync, openSync, readSync } from 'node:fs'

/** Enough for the certificates of all authorities, and for lists of very many users. */
const BYTES_MAX = 64 * 1024 * 1024
const PIECE = 64 * 1024

/**
 * The content of a file. A link is followed, a device is read up to the limit.
 * @throws an error of the system, or one of ours with the code EFBIG (more than `max` bytes) or ESPIPE (a
 * pipe, which could be read only once)
 */
export function readFileNow(file: string, max: number = BYTES_MAX): Buffer {
  // Without waiting: opening a pipe to which nobody writes would do that for ever.
  const fd = openSync(file, constants.O_RDONLY | constants.O_NONBLOCK)
  try {
    const facts = fstatSync(fd)
    if (facts.isFIFO()) throw problem('ESPIPE', 'it is a pipe; write it to a file')
    const pieces: Buffer[] = []
    let total = 0
    for (;;) {
      const piece = Buffer.allocUnsafe(Math.min(max, Math.max(facts.size - total, 0)) + PIECE)
      const length = readSync(fd, piece)
      if (length === 0) return Buffer.concat(pieces, total)
      pieces.push(piece.subarray(0, length))
      total += length
      if (total > max) throw problem('EFBIG', `it has more than ${max} bytes`)
    }
  } finally {
    closeSync(fd)
  }
}

function problem(code: string, message: string): Error {
  return Object.assign(new Error(message), { code })
}
