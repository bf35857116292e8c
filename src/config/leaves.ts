// What the keys of config.yaml are made of: kinds of values with their parsers and their words of complaint,
// a key with or without a default, a section. It knows no key.

import { z } from 'zod'
import { parseDuration, parseFileMode, parseShare, parseSize } from './units.ts'

export type OptionKind = 'text' | 'integer' | 'boolean' | 'choice' | 'duration' | 'size'

export interface OptionMeta {
  description: string
  kind: OptionKind
  /** The value is never shown in an error or in a listing. */
  secret?: boolean
  /** The value that stands in the file, as it is written there. Absent: the key has no default. */
  fallback?: string | number | boolean
}

interface Leaf<T extends z.ZodType> {
  kind: OptionKind
  type: T
  secret?: boolean
}

/** Runs a parser of units.ts as the last step of a schema, its error becoming the issue. */
function parsed<In>(type: z.ZodType<In>, parse: (value: In) => number): z.ZodType<number, In> {
  return type.transform((value, context) => {
    try {
      return parse(value)
    } catch (error) {
      context.addIssue({ code: 'custom', message: (error as Error).message })
      return z.NEVER
    }
  }) as unknown as z.ZodType<number, In>
}

const plainText = z.string({ error: 'expects text; put it in quotes' })
const scalar = (error: string) => z.union([z.string(), z.number()], { error })

export const text = { kind: 'text', type: plainText } as const
export const filledText = {
  kind: 'text',
  type: plainText.min(1, { error: 'expects a text that is not empty' }),
} as const
export const filledSecret = { ...filledText, secret: true } as const
export const secretText = { kind: 'text', type: plainText, secret: true } as const
export const boolean = { kind: 'boolean', type: z.boolean({ error: 'expects true or false' }) } as const
export const duration = {
  kind: 'duration',
  type: parsed(scalar('expects a duration like "250ms", "30s", "5m", "1h", or "0" for off'), parseDuration),
} as const
export const size = {
  kind: 'size',
  type: parsed(scalar('expects a size like "16KiB" or "64MiB", or a whole number of bytes'), parseSize),
} as const
export const share = {
  kind: 'text',
  type: parsed(scalar('expects a number from 0 to 1, like 0.01'), parseShare),
} as const
export const fileMode = {
  kind: 'text',
  type: parsed(z.string({ error: "expects three octal digits in quotes, like '0777'" }), parseFileMode),
} as const

export function integer(least: number, most: number = Number.MAX_SAFE_INTEGER) {
  const range = most === Number.MAX_SAFE_INTEGER ? `, ${least} or more` : ` from ${least} to ${most}`
  const error = `expects a whole number${range}`
  return { kind: 'integer', type: z.int({ error }).min(least, { error }).max(most, { error }) } as const
}

export function choice<const T extends readonly [string, ...string[]]>(...values: T) {
  return { kind: 'choice', type: z.enum(values, { error: `expects one of ${values.join(', ')}` }) } as const
}

export const limit = integer(0, 1_000_000)
export const port = integer(0, 65_535)

/** A key with a default, which is written as it would stand in the file. */
export function option<T extends z.ZodType>(leaf: Leaf<T>, fallback: z.input<T>, description: string) {
  const { kind, secret = false } = leaf
  return leaf.type.prefault(fallback as never).meta({ description, kind, secret, fallback })
}

/** A key that may be absent. */
export function optional<T extends z.ZodType>(leaf: Leaf<T>, description: string) {
  return leaf.type.optional().meta({ description, kind: leaf.kind, secret: leaf.secret ?? false })
}

export const EXPECTS_KEYS = 'expects keys and values, indented below it'

export function section<T extends z.ZodRawShape>(shape: T) {
  return z.strictObject(shape, { error: EXPECTS_KEYS }).prefault({} as never)
}
