// What an operator sets while the process runs, by our names and by those of PgBouncer: which option is
// meant, and what would stand in the file. It checks no value beyond that: load.ts does, as for the file.
import { AT_START } from './diff.ts'
import type { Others, Setting } from './import/setting.ts'
import { SETTINGS } from './import/settings.ts'
import { readAtoi, readInteger, readSeconds, readWord } from './import/values.ts'
import { OPTIONS } from './options.ts'
import { nearestName } from './problems.ts'

/** Option (`pool.size`) -> text, over file, environment and flags. */
export type SetOptions = ReadonlyMap<string, string>

/** It cannot be set: one sentence, and what is near. */
export class SetError extends Error {
  readonly hint: string

  constructor(message: string, hint = '') {
    super(message)
    this.hint = hint
  }
}

const DEFAULTS: Others = { of: (name) => SETTINGS.get(name)?.fallback ?? '' }

/**
 * The options that a name means, with what stands there; null: what file, environment and flags say. A name
 * that both have is PgBouncer's where the value is one of its own: a time without a unit is in seconds.
 * @throws SetError
 */
export function optionsMeant(name: string, text: string | null): [option: string, text: string | null][] {
  const found = fromPgbouncer(name, text) ?? fromOurs(name, text)
  for (const [option] of found) {
    const known = OPTIONS.find(({ path }) => path.join('.') === option)
    if (known?.secret === true)
      throw new SetError(`${option} is a secret: change it where it is kept, and RELOAD`)
    if (AT_START.test(option)) throw new SetError(`${option} counts from the next start only`)
  }
  return found
}

function fromOurs(name: string, text: string | null): [string, string | null][] {
  const known = OPTIONS.filter(({ env }) => env !== null).map(({ path }) => path)
  const path = known.find((each) => each.join('.') === name || each.join('_') === name)
  if (path !== undefined) return [[path.join('.'), text]]
  const names = [...known.map((each) => each.join('.')), ...SETTINGS.keys()]
  const near = nearestName(name, names)
  throw new SetError(
    `there is no option ${name}`,
    near === null ? 'SHOW CONFIG lists them.' : `Did you mean ${near}?`,
  )
}

/** Null: none of its names, or no value of its kind. @throws SetError where we have no such thing */
function fromPgbouncer(name: string, text: string | null): [string, string | null][] | null {
  const setting = SETTINGS.get(name)
  if (setting === undefined) return null
  const { to = [], as, note = '' } = setting
  const isOurs = OPTIONS.some(({ path }) => path.join('_') === name)
  const read = text === null ? null : readAs(setting, text)
  if (isOurs && (text === null || read === null)) return null
  if (to.length === 0 || setting.reads === 'file')
    throw new SetError(`${name} is an option of PgBouncer that is not set here`, note)
  if (text === null) return to.map((option) => [option, null])
  if (read === null) throw new SetError(`"${text}" is no value for ${name}`)
  const value = as === undefined ? read : as(read as never, DEFAULTS)
  return to.map((option) => [option, value === null ? null : String(value)])
}

function readAs({ reads }: Setting, text: string): string | number | null {
  if (reads === 'integer') return readInteger(text)
  if (reads === 'seconds') return readSeconds(text)
  if (reads === 'atoi') return readAtoi(text)
  return typeof reads === 'string' ? text : readWord(text, reads)
}
