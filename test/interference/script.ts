// Owns: the language of the scripts in scripts/*.txt (README.md tells it). Must never know what an answer
// should be: a script says what a client does, and nothing else.
import { readdirSync, readFileSync } from 'node:fs'

/** One request of client A. */
export type Step = (
  | { readonly kind: 'sql'; readonly statements: string[]; readonly data: string[] }
  | { readonly kind: 'batch'; readonly messages: string[] }
  | { readonly kind: 'peer'; readonly sql: string }
) & {
  /** The line in the file. */
  readonly at: number
  /** Types of messages, one of which has to come as well. */
  waits: string
}

/** A step of plain statements. */
export type SqlStep = Extract<Step, { kind: 'sql' }>

/** A narrow rule for what legitimately differs between two connections. */
export interface Mask {
  readonly pattern: RegExp
  readonly text: string
}

/**
 * Where a script runs. `operators`: in a database where an operator and a cast change sessions, so that any
 * statement may. `sequences`: where clients keep their server for currval and lastval.
 */
export const PLACES = ['usual', 'operators', 'sequences'] as const
export type Place = (typeof PLACES)[number]

export interface Script {
  /** File and title: `settings › a reported one`. */
  readonly name: string
  readonly file: string
  readonly at: number
  readonly params: Record<string, string>
  /** Not the superuser of the tests, but a role without any rights of its own. */
  readonly isOrdinary: boolean
  readonly place: Place
  /** Does the transcript say of notifications whether they are the session's own? */
  readonly showsSenders: boolean
  readonly masks: Mask[]
  /** What client B does besides, in each gap. */
  readonly hostile: string[]
  /** What somebody makes before A comes. */
  readonly setup: string[]
  readonly steps: Step[]
}

type Draft = { -readonly [Name in keyof Script]: Script[Name] }

const FOLDER = new URL('./scripts/', import.meta.url)

/** All scripts, in the order of their files' names. */
export function allScripts(): Script[] {
  const files = readdirSync(FOLDER).filter((name) => name.endsWith('.txt'))
  const scripts = files.sort().flatMap((name) => {
    return parseScripts(name.slice(0, -4), readFileSync(new URL(name, FOLDER), 'utf8'))
  })
  const names = scripts.map(({ name }) => name)
  const twice = names.find((name, index) => names.indexOf(name) !== index)
  if (twice !== undefined) throw new Error(`two scripts are called "${twice}"`)
  return scripts
}

/** @throws with file and line, where the text is not in the language */
export function parseScripts(file: string, text: string): Script[] {
  const scripts: Draft[] = []
  for (const [index, line] of text.split('\n').entries()) {
    const at = index + 1
    if (line === '' || line.startsWith('#')) continue
    try {
      if (line.startsWith('== ')) scripts.push(draft(file, line.slice(3), at))
      else readLine(scripts.at(-1), line, at)
    } catch (error) {
      throw new Error(`${file}.txt:${at}: ${(error as Error).message}`, { cause: error })
    }
  }
  for (const { steps, name } of scripts) if (steps.length === 0) throw new Error(`${name}: no steps`)
  return scripts
}

function draft(file: string, title: string, at: number): Draft {
  const name = `${file} › ${title}`
  const empty = { params: {}, masks: [], hostile: [], setup: [], steps: [] }
  return { name, file, at, isOrdinary: false, place: 'usual', showsSenders: false, ...empty }
}

function readLine(script: Draft | undefined, line: string, at: number): void {
  if (script === undefined) throw new Error('a line in front of the first "== title"')
  const { steps } = script
  const rest = line.slice(2)
  if (line.startsWith('\\')) readDirective(script, line.slice(1), at)
  else if (/^\s/.test(line)) continueLine(steps.at(-1), line)
  else if (line.startsWith('& ')) lastSql(steps).statements.push(rest)
  else if (line.startsWith('< ')) lastSql(steps).data.push(rest)
  else if (line.startsWith('> ')) {
    const last = steps.at(-1)
    // A line behind another one: the same write.
    if (last?.kind === 'batch' && last.at + last.messages.length === at) last.messages.push(rest)
    else steps.push({ kind: 'batch', at, waits: '', messages: [rest] })
  } else steps.push({ kind: 'sql', at, waits: '', statements: [line], data: [] })
}

function lastSql(steps: readonly Step[]): SqlStep {
  const last = steps.at(-1)
  if (last?.kind !== 'sql') throw new Error('no statement in front of it')
  return last
}

function continueLine(last: Step | undefined, line: string): void {
  if (last?.kind !== 'sql') throw new Error('an indented line continues a statement only')
  last.statements.push(`${last.statements.pop()}\n${line}`)
}

function readDirective(script: Draft, text: string, at: number): void {
  const [, word = '', rest = ''] = /^(\w+) ?(.*)$/.exec(text) ?? []
  if (word === 'with') {
    const equals = rest.indexOf('=')
    if (equals < 0) throw new Error('\\with name=value')
    script.params[rest.slice(0, equals)] = rest.slice(equals + 1)
  } else if (word === 'ordinary') script.isOrdinary = true
  else if (word === 'in') script.place = placeOf(rest)
  else if (word === 'senders') script.showsSenders = true
  else if (word === 'hostile') script.hostile.push(rest)
  else if (word === 'setup') script.setup.push(rest)
  else if (word === 'peer') script.steps.push({ kind: 'peer', at, waits: '', sql: rest })
  else if (word === 'wait') {
    const last = script.steps.at(-1)
    if (last === undefined) throw new Error('\\wait stands behind a request')
    last.waits = rest
  } else if (word === 'mask') {
    const [pattern, text] = rest.split(' => ')
    if (pattern === undefined || text === undefined) throw new Error('\\mask pattern => text')
    script.masks.push({ pattern: new RegExp(pattern, 'g'), text })
  } else throw new Error(`an unknown directive \\${word}`)
}

function placeOf(word: string): Place {
  const place = PLACES.find((name) => name === word)
  if (place === undefined) throw new Error(`\\in ${PLACES.join(' or ')}`)
  return place
}
