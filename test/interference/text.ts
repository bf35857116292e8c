// Owns: what stands in braces in a script: names of this run, padding, bytes. Must never touch other braces.

/** Names of one run. */
export type Names = Readonly<Record<string, string>>

/** The bytes of a text of a script, with what stands in braces put in. */
export function bytesOf(text: string, names: Names): Buffer {
  const parts = text.split(/\{(hex:[0-9a-f]+|pad:\d+|[a-z]+)\}/)
  return Buffer.concat(parts.map((part, index) => (index % 2 === 0 ? Buffer.from(part) : put(part, names))))
}

/** The same where no bytes can stand. */
export function textOf(text: string, names: Names): string {
  return bytesOf(text, names).toString()
}

function put(word: string, names: Names): Buffer {
  if (word.startsWith('hex:')) return Buffer.from(word.slice(4), 'hex')
  if (word.startsWith('pad:')) return Buffer.from(`/*${'x'.repeat(Number(word.slice(4)) - 4)}*/`)
  return Buffer.from(names[word] ?? `{${word}}`)
}
