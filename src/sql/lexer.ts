// Owns the edges of tokens in SQL text: where a word, string, identifier, dollar quote or comment ends, as in
// Postgres' lexer (scan.l), in any client_encoding. It never judges what they mean, allocates or throws.

// What a byte outside of quotes can begin.
export const OTHER = 0
export const SPACE = 1
export const WORD = 2
export const STRING = 3
export const IDENTIFIER = 4
export const DOLLAR = 5
export const DASH = 6
export const SLASH = 7
export const SEMICOLON = 8
export const OPEN = 9
export const CLOSE = 10
export const ZERO = 11

const QUOTE_BYTE = 0x27
const DOUBLE_QUOTE_BYTE = 0x22
const BACKSLASH_BYTE = 0x5c
const DOLLAR_BYTE = 0x24
const DASH_BYTE = 0x2d
const SLASH_BYTE = 0x2f
const STAR_BYTE = 0x2a
const AMPERSAND_BYTE = 0x26
const NEWLINE = 0x0a
const RETURN = 0x0d

// How strings are to be read: one bit, and how an encoding has chars of several bytes.
/** Backslashes are plain chars in plain strings (standard_conforming_strings). */
export const STANDARD = 1
/** No byte of a char of several bytes is ASCII: LATIN1, EUC and all that a server may have. */
export const SAFE = 0
/** The same, and names can be given as they are. */
export const UTF8 = 2
/** BIG5, GBK, UHC: two bytes, of which the second may be a backslash. */
export const DOUBLE = 4
/** SJIS: two bytes, but for half-width katakana. */
export const SHIFTED = 6
/** GB18030: two or four. */
export const FOUR = 8
/** JOHAB: two, or three behind 0x8f. */
export const THREE = 10
/** The encoding is not known: a backslash behind a byte that is not ASCII cannot be read. */
export const ANY = 12
/** The bits that are the encoding. */
export const ENCODING = 14
/** Backslashes escape in this string. */
const ESCAPES = 16

/** The bit that makes an ASCII letter lower case. */
export const LOWER_CASE = 0x20

/** What a byte can begin. */
export const CLASS = new Uint8Array(256)
/** 1 where a byte continues a word, 2 for the dollar sign, which a dollar quote's tag may not hold. */
const PART = new Uint8Array(256)

for (const char of ' \t\n\v\f\r') CLASS[char.charCodeAt(0)] = SPACE
for (let byte = 0; byte < 256; byte++) {
  const lower = byte | LOWER_CASE
  const letter = (lower >= 0x61 && lower <= 0x7a && byte < 0x80) || byte === 0x5f || byte >= 0x80
  if (letter) CLASS[byte] = WORD
  if (letter || (byte >= 0x30 && byte <= 0x39)) PART[byte] = 1
}
PART[DOLLAR_BYTE] = 2
CLASS[QUOTE_BYTE] = STRING
CLASS[DOUBLE_QUOTE_BYTE] = IDENTIFIER
CLASS[DOLLAR_BYTE] = DOLLAR
CLASS[DASH_BYTE] = DASH
CLASS[SLASH_BYTE] = SLASH
CLASS[0x3b] = SEMICOLON
CLASS[0x28] = OPEN
CLASS[0x29] = CLOSE
CLASS[0] = ZERO

// Each of the following returns the offset behind what it skips, -1 if that is not closed or cannot be read.

/** From behind the first byte of a word. */
export function wordEnd(text: Buffer, from: number, end: number, reading: number): number {
  let at = from
  while (at < end && PART[text[at]] !== 0) at++
  // Behind such a byte it may be the second half of a char.
  if ((reading & ENCODING) <= UTF8 || at >= end || text[at - 1] < 0x80 || text[at] < 0x40) return at
  return wideEnd(text, from - 1, end, reading & ENCODING)
}

/** The same char by char. */
function wideEnd(text: Buffer, from: number, end: number, encoding: number): number {
  if (encoding === ANY) return -1
  let at = from
  while (at < end) {
    if (text[at] >= 0x80) at += charLength(text, at, encoding)
    else if (PART[text[at]] !== 0) at++
    else return at
  }
  return end
}

/** A word of one letter at `at`, with the string that it may be the prefix of. */
export function skipPrefixed(text: Buffer, at: number, end: number, reading: number): number {
  const behind = at + 1
  if (behind >= end) return behind
  const letter = text[at] | LOWER_CASE
  if (text[behind] === QUOTE_BYTE) {
    if (letter === 0x65) return skipString(text, behind + 1, end, reading | ESCAPES) // E'..'
    if (letter === 0x62 || letter === 0x78) return skipString(text, behind + 1, end, 0) // B'..', X'..'
    return behind
  }
  // U&'..' is refused by Postgres while backslashes escape in plain strings.
  const unicode = letter === 0x75 && text[behind] === AMPERSAND_BYTE
  const standard = (reading & STANDARD) !== 0
  return unicode && !standard && behind + 1 < end && text[behind + 1] === QUOTE_BYTE ? -1 : behind
}

/** A token that is neither white space, word nor comment. */
export function skipOther(text: Buffer, at: number, end: number, reading: number): number {
  switch (CLASS[text[at]]) {
    case STRING:
      return skipString(text, at + 1, end, (reading & STANDARD) === 0 ? reading | ESCAPES : 0)
    case IDENTIFIER:
      return skipIdentifier(text, at + 1, end)
    case DOLLAR:
      return skipDollar(text, at, end, reading & ENCODING)
    case ZERO:
      return -1
    default:
      return at + 1
  }
}

/** From behind the opening quote, over all parts of a string that goes on in another line. */
function skipString(text: Buffer, from: number, end: number, reading: number): number {
  const escapes = (reading & ESCAPES) !== 0
  const encoding = escapes ? reading & ENCODING : SAFE
  let at = from
  while (at < end) {
    const byte = text[at]
    if (byte === QUOTE_BYTE) {
      if (at + 1 < end && text[at + 1] === QUOTE_BYTE) {
        at += 2
        continue
      }
      const more = continuation(text, at + 1, end)
      if (more < 0) return at + 1
      at = more + 1
    } else if (byte === BACKSLASH_BYTE && escapes) {
      // It may be the second half of a char, in encodings where that is possible.
      if (encoding === ANY && text[at - 1] >= 0x80) return -1
      at += 2
    } else if (byte >= 0x80 && encoding > UTF8) {
      const length = charLength(text, at, encoding)
      // No char has a quote for its second byte: Postgres will refuse the text.
      if (length > 1 && text[at + 1] < 0x30) return -1
      at += length
    } else {
      at++
    }
  }
  return -1
}

/** Bytes of the char at `at`, which is not ASCII. Postgres refuses a text in which it is not a whole one. */
export function charLength(text: Uint8Array, at: number, encoding: number): number {
  const byte = text[at]
  switch (encoding & ENCODING) {
    case DOUBLE:
      return 2
    case SHIFTED:
      return byte >= 0xa1 && byte <= 0xdf ? 1 : 2
    case FOUR:
      return text[at + 1] >= 0x30 && text[at + 1] <= 0x39 ? 4 : 2
    case THREE:
      return byte === 0x8f ? 3 : 2
    default:
      return 1
  }
}

/**
 * Where a string goes on: behind white space and line comments with at least one line break. It matters since
 * the second part of E'a' is read with backslashes too. Returns the offset of the quote, -1 if there is none.
 */
function continuation(text: Buffer, from: number, end: number): number {
  let at = from
  let broken = false
  while (at < end) {
    const byte = text[at]
    if (CLASS[byte] === SPACE) {
      if (byte === NEWLINE || byte === RETURN) broken = true
      at++
    } else if (byte === DASH_BYTE && at + 1 < end && text[at + 1] === DASH_BYTE) {
      at = skipLine(text, at + 2, end)
    } else {
      return broken && byte === QUOTE_BYTE ? at : -1
    }
  }
  return -1
}

function skipIdentifier(text: Buffer, from: number, end: number): number {
  let at = from
  while (at < end) {
    if (text[at++] !== DOUBLE_QUOTE_BYTE) continue
    if (at >= end || text[at] !== DOUBLE_QUOTE_BYTE) return at
    at++
  }
  return -1
}

/** `$tag$ .. $tag$`; a dollar sign that opens nothing is a token of its own. */
function skipDollar(text: Buffer, open: number, end: number, encoding: number): number {
  let tagEnd = open + 1
  if (tagEnd < end && CLASS[text[tagEnd]] === WORD) {
    while (tagEnd < end && PART[text[tagEnd]] === 1) {
      tagEnd += text[tagEnd] >= 0x80 ? charLength(text, tagEnd, encoding) : 1
    }
  }
  if (tagEnd >= end || text[tagEnd] !== DOLLAR_BYTE) return open + 1
  const length = tagEnd + 1 - open
  let at = tagEnd + 1
  while (at < end) {
    if (text[at] !== DOLLAR_BYTE) {
      at++
      continue
    }
    let same = 1
    while (same < length && at + same < end && text[at + same] === text[open + same]) same++
    at += same
    if (same === length) return at
  }
  return -1
}

/** A comment of either kind; `at + 1` if the byte begins none. */
export function skipComment(text: Buffer, at: number, end: number): number {
  const second = at + 1 < end ? text[at + 1] : 0
  if (text[at] === DASH_BYTE) return second === DASH_BYTE ? skipLine(text, at + 2, end) : at + 1
  return second === STAR_BYTE ? skipBlock(text, at + 2, end) : at + 1
}

function skipLine(text: Buffer, from: number, end: number): number {
  let at = from
  while (at < end && text[at] !== NEWLINE && text[at] !== RETURN) at++
  return at
}

/** Block comments nest. */
function skipBlock(text: Buffer, from: number, end: number): number {
  let depth = 1
  let at = from
  while (at + 1 < end) {
    const byte = text[at]
    const second = text[at + 1]
    if (byte === STAR_BYTE && second === SLASH_BYTE) {
      at += 2
      if (--depth === 0) return at
    } else if (byte === SLASH_BYTE && second === STAR_BYTE) {
      at += 2
      depth++
    } else {
      at++
    }
  }
  return -1
}
