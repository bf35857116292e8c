// Takes the text of a console query apart: statements between semicolons, words, names in double quotes,
// strings, signs. Pure; it knows no command.
import { ConsoleError } from './types.ts'

export interface Token {
  readonly kind: 'word' | 'name' | 'string' | 'sign'
  readonly text: string
}

const SIGNS = '=,()'
const TOKENS_MAX = 1000

/** The statements of a text, each as its tokens; one without any is empty. @throws ConsoleError 42601 */
export function readStatements(text: string): Token[][] {
  const statements: Token[][] = [[]]
  let at = 0
  for (let count = 0; at < text.length; count++) {
    if (count > TOKENS_MAX) throw new ConsoleError('54001', 'the text is too long for the console')
    const char = text[at]
    const end = skip(text, at)
    if (end > at) at = end
    else if (char === ';') {
      statements.push([])
      at++
    } else {
      const [token, next] = tokenAt(text, at)
      statements.at(-1)?.push(token)
      at = next
    }
  }
  // What stands behind the last semicolon is a statement only if there is something.
  if (statements.length > 1 && statements.at(-1)?.length === 0) statements.pop()
  return statements
}

/** @returns where the white space or comment at `at` ends. */
function skip(text: string, at: number): number {
  if (/\s/.test(text[at])) return at + 1
  if (text.startsWith('--', at)) {
    const end = text.indexOf('\n', at)
    return end < 0 ? text.length : end + 1
  }
  if (!text.startsWith('/*', at)) return at
  const end = text.indexOf('*/', at + 2)
  if (end < 0) throw new ConsoleError('42601', 'unterminated /* comment')
  return end + 2
}

function tokenAt(text: string, at: number): [token: Token, end: number] {
  const char = text[at]
  if (char === '"') return quoted(text, at, 'name')
  if (char === "'") return quoted(text, at, 'string')
  if (SIGNS.includes(char)) return [{ kind: 'sign', text: char }, at + 1]
  let end = at
  while (end < text.length && !/[\s;'"=,()]/.test(text[end])) end++
  return [{ kind: 'word', text: text.slice(at, end) }, end]
}

function quoted(text: string, at: number, kind: 'name' | 'string'): [token: Token, end: number] {
  const quote = text[at]
  let value = ''
  let from = at + 1
  for (;;) {
    const end = text.indexOf(quote, from)
    if (end < 0) {
      throw new ConsoleError('42601', `unterminated quoted ${kind === 'name' ? 'identifier' : 'string'}`)
    }
    value += text.slice(from, end)
    if (text[end + 1] !== quote) return [{ kind, text: value }, end + 1]
    value += quote
    from = end + 2
  }
}
