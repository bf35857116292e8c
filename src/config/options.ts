// The keys of config.yaml as a list, read off the schema: for environment variables, complaints, the sample
// and its test. It adds nothing to the schema.

import { z } from 'zod'
import type { OptionMeta } from './leaves.ts'
import { fileSchema } from './schema.ts'

/** One key of the file. */
export interface OptionInfo extends OptionMeta {
  /** Section, perhaps a subsection, key. `<name>` stands for the name of a database or user. */
  path: readonly string[]
  /** Name of its environment variable; null inside databases and users. */
  env: string | null
}

function unwrap(schema: unknown): unknown {
  let inner = schema
  while (inner instanceof z.ZodPrefault || inner instanceof z.ZodOptional) inner = inner.unwrap()
  return inner
}

function collect(schema: unknown, path: readonly string[], into: OptionInfo[]): void {
  const inner = unwrap(schema)
  if (inner instanceof z.ZodObject) {
    for (const [key, child] of Object.entries(inner.shape)) collect(child, [...path, key], into)
  } else if (inner instanceof z.ZodRecord) {
    collect(inner.valueType, [...path, '<name>'], into)
  } else {
    const meta = (schema as z.ZodType).meta() as unknown as OptionMeta
    const env = path.includes('<name>') ? null : `PGMUX_${path.join('_').toUpperCase()}`
    into.push({ ...meta, path, env })
  }
}

function collectAll(): OptionInfo[] {
  const all: OptionInfo[] = []
  collect(fileSchema, [], all)
  return all
}

/** Every key of the file, in the order of the file. */
export const OPTIONS: readonly OptionInfo[] = collectAll()

/** The keys known below `path`; null where the value at `path` is not a map, or its keys are free names. */
export function keysAt(path: readonly string[]): readonly string[] | null {
  const inner = descend(path)
  return inner instanceof z.ZodObject ? Object.keys(inner.shape) : null
}

/** True where the value at `path` is a map. */
export function isMapAt(path: readonly string[]): boolean {
  const inner = descend(path)
  return inner instanceof z.ZodObject || inner instanceof z.ZodRecord
}

/** The option at `path`, where database and user names are the real ones. */
export function optionAt(path: readonly string[]): OptionInfo | undefined {
  const named = path[0] === 'databases' || path[0] === 'users'
  const wanted = path.map((part, i) => (named && i === 1 ? '<name>' : part)).join('.')
  return OPTIONS.find((candidate) => candidate.path.join('.') === wanted)
}

function descend(path: readonly string[]): unknown {
  let inner = unwrap(fileSchema)
  for (const key of path) {
    if (inner instanceof z.ZodObject && Object.hasOwn(inner.shape, key)) inner = unwrap(inner.shape[key])
    else if (inner instanceof z.ZodRecord) inner = unwrap(inner.valueType)
    else return undefined
  }
  return inner
}
