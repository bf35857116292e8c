// Owns: a step of a script as bytes. Must never send them.
import * as m from '../support/messages.ts'
import { messageOf } from './batch.ts'
import type { Script, SqlStep, Step } from './script.ts'
import { bytesOf, type Names } from './text.ts'

/**
 * How plain statements are sent: as a Query, by the unnamed statement, by one that has a name, or by the
 * first two in turns.
 */
export type Mode = 'simple' | 'extended' | 'named' | 'mixed'

/** How this step is sent. Half of the scripts begin with a Query, half with the other. */
export function modeAt({ at }: Script, index: number, mode: Mode): Mode {
  if (mode !== 'mixed') return mode
  return (at + index) % 2 === 0 ? 'simple' : 'extended'
}

/** The statements of a step, without Sync. */
export function requestOf({ statements, at }: SqlStep, mode: Mode, names: Names): Buffer[] {
  const texts = statements.map((text) => bytesOf(text, names))
  return mode === 'simple'
    ? [m.query(joined(texts))]
    : texts.flatMap((text, index) => parsed(text, mode === 'named' ? `s${at}_${index}` : ''))
}

/** All messages of a step that needs no answer in between. */
export function wholeRequest(step: Exclude<Step, { kind: 'peer' }>, mode: Mode, names: Names): Buffer {
  if (step.kind === 'batch') return Buffer.concat(step.messages.map((line) => messageOf(line, names)))
  return Buffer.concat([...requestOf(step, mode, names), ...(mode === 'simple' ? [] : [m.sync()])])
}

/** Data of a COPY, and its end. */
export function dataOf(data: readonly string[], names: Names): Buffer[] {
  const rows = data.map((line) => {
    return line.startsWith('!') ? m.copyFail(line.slice(1)) : m.copyData(bytesOf(`${line}\n`, names))
  })
  return data.at(-1)?.startsWith('!') ? rows : [...rows, m.copyDone()]
}

function joined(texts: readonly Buffer[]): Buffer {
  return Buffer.concat(texts.flatMap((text, index) => (index === 0 ? [text] : [Buffer.from('; '), text])))
}

function parsed(text: Buffer, name: string): Buffer[] {
  return [m.parse(text, { name }), m.bind({ statement: name }), m.describe('P'), m.execute()]
}
