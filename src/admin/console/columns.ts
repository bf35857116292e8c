// How the commands write down their columns: a name with its type. Pure.
import type { Column, ColumnType } from '../../wire/rows.ts'

/** `text: a b, int4: c` as columns, in this order. */
export function columns(text: string): readonly Column[] {
  return text.split(',').flatMap((group) => {
    const [type, names] = group.split(':')
    return names
      .trim()
      .split(/\s+/)
      .map((name) => ({ name, type: type.trim() as ColumnType }))
  })
}

/** Microseconds beside the whole seconds of a time in milliseconds, as PgBouncer shows waits. */
export function secondsAndMicros(ms: number): [seconds: number, micros: number] {
  const waited = Math.max(0, ms)
  const seconds = Math.floor(waited / 1000)
  return [seconds, Math.floor((waited - seconds * 1000) * 1000)]
}

/** A coarse time as PgBouncer writes it (`2026-01-31 10:00:00 UTC`); null for one that never was. */
export function instant(at: number, now: number): string | null {
  if (at <= 0) return null
  const date = new Date(Date.now() - (now - at))
  return `${date.toISOString().slice(0, 19).replace('T', ' ')} UTC`
}
