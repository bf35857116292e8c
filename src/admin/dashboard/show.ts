// Any SHOW of the console as JSON: rows that have the wanted values, and not too many. It owns nothing.
import { setImmediate } from 'node:timers/promises'
import { SHOWS } from '../console/commands.ts'
import type { Command, Filter } from '../console/types.ts'
import { isWanted } from '../console/prepared.ts'
import { Refused } from './answers.ts'
import type { Desk, Value } from './types.ts'

const LIMIT = 200
const LIMIT_MAX = 1000
/** So long rows are made at a time, ms, and how often that is looked at: clients wait meanwhile. */
const TURN_MS = 3
const LOOK_EACH = 32

const COMMANDS = new Map(SHOWS.map((command) => [command.name, command]))

/** @param query what stands behind the question mark @throws Refused */
export async function show(desk: Desk, query: string): Promise<object> {
  const asked = [...new URLSearchParams(query)]
  const command = COMMANDS.get(
    `SHOW ${(asked.find(([name]) => name === 'command')?.[1] ?? '').toUpperCase()}`,
  )
  if (command === undefined)
    throw new Refused(400, `command must be one of ${[...COMMANDS.keys()].map(shortOf).join(', ')}`)
  const limit = limitIn(asked)
  const filters = filtersIn(asked, command)
  const rows: (readonly Value[])[] = []
  let seen = 0
  let turn = performance.now()
  for (const row of await desk.rows(command)) {
    if (++seen % LOOK_EACH === 0 && performance.now() - turn >= TURN_MS) {
      await setImmediate()
      turn = performance.now()
    }
    if (!isWanted(row, filters)) continue
    if (rows.length === limit) return answerOf(command, rows, true)
    rows.push(row)
  }
  return answerOf(command, rows, false)
}

function answerOf({ columns }: Command, rows: readonly (readonly Value[])[], more: boolean): object {
  return { columns, rows, more }
}

function shortOf(name: string): string {
  return name.slice('SHOW '.length)
}

function limitIn(asked: readonly (readonly [name: string, value: string])[]): number {
  const text = asked.find(([name]) => name === 'limit')?.[1] ?? String(LIMIT)
  const limit = /^\d{1,4}$/.test(text) ? Number(text) : 0
  if (limit >= 1 && limit <= LIMIT_MAX) return limit
  throw new Refused(400, `limit must be a whole number from 1 to ${LIMIT_MAX}`)
}

function filtersIn(
  asked: readonly (readonly [name: string, value: string])[],
  { columns = [] }: Command,
): Filter[] {
  const given = asked.filter(([name]) => name !== 'command' && name !== 'limit')
  return given.map(([name, value]) => {
    const column = columns.findIndex((each) => each.name === name.toLowerCase())
    if (column >= 0) return { column, value }
    throw new Refused(400, `there is no such column: use ${columns.map((each) => each.name).join(', ')}`)
  })
}
