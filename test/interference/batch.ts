// Owns: the messages of a script's `>` lines as bytes. Must never wait for an answer.
import * as m from '../support/messages.ts'
import { bytesOf, type Names, textOf } from './text.ts'

const named = (name: string | undefined): string => (name === undefined || name === '-' ? '' : name)

function values(text: string | undefined, names: Names): (Buffer | null)[] {
  if (text === undefined || text === '') return []
  return text.split('|').map((value) => (value === '\\N' ? null : bytesOf(value, names)))
}

/** One message. @throws for a word that is none */
export function messageOf(line: string, names: Names): Buffer {
  const [word = '', first, second] = line.split(' ')
  const behind = (count: number) => line.split(' ').slice(count).join(' ')
  switch (word) {
    case 'parse': {
      const [, name = '', types = ''] = /^([^(]*)(?:\(([\d,]+)\))?$/.exec(first ?? '') ?? []
      const list = types === '' ? [] : types.split(',').map(Number)
      return m.parse(bytesOf(behind(2), names), { name: named(name), types: list })
    }
    case 'bind':
      return m.bind({ portal: named(first), statement: named(second), params: values(behind(3), names) })
    case 'describe':
    case 'close':
      if (first !== 'S' && first !== 'P') throw new Error(`${word} S or P, not "${first}"`)
      return (word === 'close' ? m.close : m.describe)(first, named(second))
    case 'execute':
      return m.execute(named(first), Number(second ?? 0))
    case 'query':
      return m.query(bytesOf(behind(1), names))
    case 'call':
      return m.functionCall(Number(textOf(first ?? '', names)), values(behind(2), names))
    case 'sync':
      return m.sync()
    case 'flush':
      return m.flush()
    default:
      throw new Error(`an unknown message "${word}"`)
  }
}

/** How many ReadyForQuery answer these messages. */
export function readiesOf(lines: readonly string[]): number {
  return lines.filter((line) => /^(sync|query|call)\b/.test(line)).length
}
