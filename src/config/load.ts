// Makes the Config: reads the file, lays environment and flags over it, checks it. Either everything is
// right, or one error says everything that is wrong. No secret ever stands in an error or a warning.

import type { z } from 'zod'
import { type Environment, type ParsedDocument, readDocument } from './document.ts'
import { applyEnvironment, applyFlags, applySet, type Flags, Layers, unknownKey } from './layers.ts'
import { ConfigError, nearestName } from './problems.ts'
import { resolveConfig } from './resolve.ts'
import { reasonOf } from './rules.ts'
import { readFileNow } from '../util/read-file.ts'
import { isMapAt, optionAt } from './options.ts'
import { type FileConfig, fileSchema } from './schema.ts'
import type { Config } from './types.ts'

export { ConfigError } from './problems.ts'
export type { Flags } from './layers.ts'

export interface LoadOptions {
  /** The YAML file; otherwise `flags.config`, otherwise PGMUX_CONFIG, otherwise none. */
  file?: string | undefined
  flags?: Flags | undefined
  /** What was set while the process runs, over everything else; texts by option (`pool.size`). */
  set?: ReadonlyMap<string, string> | undefined
  /** Default: the environment of the process. */
  env?: Environment | undefined
  /** True where people read the log (default: standard output is a terminal). */
  terminal?: boolean | undefined
}

export interface LoadedConfig {
  config: Config
  /** The file that was read, as it was named; null: none. */
  file: string | null
  /** Dotted key (`pool.size`) -> where its value came from; defaults are absent. */
  sources: ReadonlyMap<string, string>
  /** One sentence each, with its place. */
  warnings: readonly string[]
}

function readFile(file: string, env: Environment): ParsedDocument {
  try {
    return readDocument(readFileNow(file).toString('utf8'), env)
  } catch (error) {
    throw new ConfigError([`${file}: cannot be read: ${reasonOf(error)}`])
  }
}

/** ", not 5" or the name that was probably meant; nothing where the value may be a secret. */
function describeValue(layers: Layers, path: readonly string[], issue: z.core.$ZodIssue): string {
  const value = layers.get(path)
  const option = optionAt(path)
  if (option === undefined || option.secret || layers.origin(path).hidden) return ''
  if (issue.code === 'invalid_value' && typeof value === 'string') {
    const near = nearestName(value, issue.values.map(String))
    if (near !== null) return `, did you mean "${near}"?`
  }
  if (typeof value !== 'string' && typeof value !== 'number' && typeof value !== 'boolean') return ''
  const text = JSON.stringify(value)
  return `, not ${text.length > 40 ? `${text.slice(0, 40)}..."` : text}`
}

function describeIssue(layers: Layers, issue: z.core.$ZodIssue): string[] {
  const path = issue.path.map(String)
  if (issue.code === 'unrecognized_keys') {
    return issue.keys.map((key) => `${layers.place([...path, key])}: ${unknownKey(path, key)}`)
  }
  if (layers.get(path) === null && !isMapAt(path)) {
    return [`${layers.place(path)}: has no value; give one, or remove the line`]
  }
  return [`${layers.place(path)}: ${issue.message}${describeValue(layers, path, issue)}`]
}

/**
 * Checks the shape. What is wrong is reported, marked as broken and taken out, so that the rest can be
 * checked further.
 * @returns the file shape with defaults.
 */
function checkShape(layers: Layers): FileConfig {
  const first = fileSchema.safeParse(layers.tree)
  if (first.success) return first.data
  for (const issue of first.error.issues) {
    layers.problems.push(...describeIssue(layers, issue))
    const path = issue.path.map(String)
    if (issue.code === 'unrecognized_keys') {
      for (const key of issue.keys) layers.delete([...path, key])
    } else {
      layers.broken.add(path.join('.'))
      layers.delete(path)
    }
  }
  const second = fileSchema.safeParse(layers.tree)
  if (!second.success) throw new ConfigError(inOrder(layers.problems))
  return second.data
}

/** By line, then in the order of finding; the same sentence once. */
function inOrder(problems: readonly string[]): string[] {
  const line = (problem: string): number => Number(/^[^:]*:(\d+):/.exec(problem)?.[1] ?? 0)
  return [...new Set(problems)].sort((a, b) => line(a) - line(b))
}

/**
 * Loads the configuration. Order: what was set, flag, environment, file, default.
 * @throws ConfigError that lists every problem, one per line, each with its place (`config.yaml:12: pool.siz:
 * ...`, `PGMUX_POOL_SIZE: ...`, `--pool-size: ...`) and what is accepted there.
 */
export function loadConfig(options: LoadOptions = {}): LoadedConfig {
  const { flags = {}, env = process.env, terminal = process.stdout.isTTY === true } = options
  const named = options.file ?? flags.config ?? env.PGMUX_CONFIG ?? ''
  const layers = new Layers(named, named === '' ? readDocument('', env) : readFile(named, env))
  applyEnvironment(layers, env)
  applyFlags(layers, flags)
  if (options.set !== undefined) applySet(layers, options.set)
  const config = resolveConfig({ layers, file: named, terminal }, checkShape(layers))
  if (layers.problems.length > 0) throw new ConfigError(inOrder(layers.problems))
  return {
    config,
    file: named === '' ? null : named,
    sources: layers.sources(),
    warnings: layers.warnings,
  }
}
