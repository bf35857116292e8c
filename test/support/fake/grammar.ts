// Owns: taking a text apart into statements and finding the rule for each. Must never know what a statement
// does.

import { LITERAL, parameterTypes, RULES, type Rule, type Statement } from './language.ts'
import { QUESTIONS } from './questions.ts'
import type { Session } from './session.ts'
import { PgError } from './wire.ts'

/** One statement of a text, and where it starts in it. */
interface Part {
  readonly text: string
  readonly at: number
}

/** Texts come again and again, those of the pooler's own questions are long. */
const SPLIT_MAX = 2000
const known = new Map<string, readonly Part[]>()

/** Statements of a text without their semicolons; each keeps where it starts. Empty ones are left out. */
export function split(sql: string): readonly Part[] {
  let parts = known.get(sql)
  if (parts === undefined) {
    if (known.size >= SPLIT_MAX) known.clear()
    parts = splitAnew(sql)
    known.set(sql, parts)
  }
  return parts
}

function splitAnew(sql: string): Part[] {
  const out: Part[] = []
  const token = new RegExp(`${LITERAL}|"[^"]*"|--[^\\n]*|/\\*[\\s\\S]*?\\*/|;|[\\s\\S]`, 'g')
  let text = ''
  let at = 0
  for (const { 0: part, index } of sql.matchAll(token)) {
    if (part === ';') {
      if (text.trim() !== '') out.push({ text: text.trim(), at })
      text = ''
    } else if (!part.startsWith('--') && !part.startsWith('/*')) {
      if (text.trim() === '') at = index
      text += part
    }
  }
  if (text.trim() !== '') out.push({ text: text.trim(), at })
  return out
}

function find(text: string, session: Session): [Rule, RegExpExecArray] | null {
  for (const rule of [...session.extraRules, ...QUESTIONS, ...RULES]) {
    const found = rule.match.exec(text)
    if (found !== null) return [rule, found]
  }
  return null
}

/** The grammar's part: the whole text is refused if one statement is not understood. @throws PgError 42601 */
export function checkSyntax(parts: readonly Part[], session: Session): void {
  for (const { text, at } of parts) {
    if (find(text, session) !== null) continue
    const word = /^\w+|^./s.exec(text)?.[0] ?? ''
    throw new PgError('42601', `syntax error at or near "${word}"`, 'ERROR', { P: String(at + 1) })
  }
}

/** Parse analysis of one statement that the grammar accepts. @throws PgError as the rule says */
export function analyse({ text, at }: Part, session: Session): Statement {
  const [rule, found] = find(text, session) as [Rule, RegExpExecArray]
  try {
    const statement = rule.make(found, session)
    return { ...statement, params: statement.params ?? parameterTypes(text) }
  } catch (error) {
    if (!(error instanceof PgError) || error.more.P === undefined) throw error
    throw new PgError(error.code, error.message, 'ERROR', {
      ...error.more,
      P: String(Number(error.more.P) + at),
    })
  }
}

/** True for statements that run in a failed block; known from the grammar alone. */
export function exitsBlock(text: string): boolean {
  return /^(commit|end|rollback|abort|prepare transaction)\b/i.test(text)
}
