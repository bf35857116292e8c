// Owns how a statement's bytes become text for the grammar, which reads UTF-8, and backslashes in plain
// strings as they are. Only ASCII has a meaning in SQL, so every other byte may become any letter, as long as
// different names stay different. It never lets a byte be read as what it is not in the client's encoding.

import { isUtf8 } from 'node:buffer'
import { ANY, charLength, DOUBLE, ENCODING, FOUR, SAFE, SHIFTED, STANDARD, THREE, UTF8 } from './lexer.ts'

const BACKSLASH_BYTE = 0x5c
/** Above the 256 letters that stand for bytes of their own: bytes of chars that look like ASCII. */
const SHIFT = 0x100

/** UTF-8, and the encodings of clients in which a byte of a char may be ASCII; all others are SAFE. */
const ENCODINGS: Readonly<Record<string, number>> = {
  BIG5: DOUBLE,
  GBK: DOUBLE,
  UHC: DOUBLE,
  SJIS: SHIFTED,
  SHIFT_JIS_2004: SHIFTED,
  GB18030: FOUR,
  JOHAB: THREE,
  UTF8,
  UNICODE: UTF8,
}

/** How to read texts of a client with these (canonical) settings; '' where the encoding is not known. */
export function readingFlags(clientEncoding: string, standardConformingStrings: boolean): number {
  const name = clientEncoding.toUpperCase()
  return (standardConformingStrings ? STANDARD : 0) | (name === '' ? ANY : (ENCODINGS[name] ?? SAFE))
}

/** Most bytes that `transcode` writes for so many. */
export function transcodedMax(length: number): number {
  return length * 2
}

/**
 * Writes the text for the grammar to `target` at `at`. Names are then as the client wrote them if it speaks
 * UTF-8; otherwise each char of a name stands for one byte of the client's: itself, or 256 more for one that
 * would be ASCII by itself.
 * @returns the bytes written, -1 if the grammar would read the text otherwise than Postgres does
 */
export function transcode(text: Buffer, flags: number, target: Uint8Array, at: number): number {
  if ((flags & STANDARD) === 0 && text.includes(BACKSLASH_BYTE)) return -1
  const encoding = flags & ENCODING
  if (isUtf8(text) && (encoding === UTF8 || isAscii(text))) {
    target.set(text, at)
    return text.length
  }
  let to = at
  for (let from = 0; from < text.length; ) {
    const byte = text[from]
    if (byte < 0x80) {
      target[to++] = byte
      from++
      continue
    }
    // A char that is cut off at the end: Postgres refuses the text.
    const stop = Math.min(from + charLength(text, from, encoding), text.length)
    for (; from < stop; from++, to += 2) {
      const char = text[from] < 0x80 ? text[from] + SHIFT : text[from]
      target[to] = 0xc0 | (char >> 6)
      target[to + 1] = 0x80 | (char & 63)
    }
  }
  return to - at
}

function isAscii(text: Buffer): boolean {
  for (let at = 0; at < text.length; at++) if (text[at] >= 0x80) return false
  return true
}
