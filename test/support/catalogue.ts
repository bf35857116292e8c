// What a database's functions can do, from a real catalogue or from one that a test makes up.

import { type Routines, Survey } from '../../src/sql/catalogue.ts'
import { surveyQuery } from '../../src/sql/catalogue-queries.ts'
import { Fact, scanFacts } from '../../src/sql/scanner.ts'
import type { WireClient } from './wire-client.ts'

export interface RoutineRow {
  readonly oid: number
  readonly name: string
  readonly source: string
  readonly language?: string
  readonly isCut?: boolean
  readonly extension?: string
}

/** Nodes with their names besides those of the routines, and links between nodes. */
export interface Made {
  readonly names?: Readonly<Record<string, string>>
  readonly links?: readonly (readonly [from: string, to: string])[]
}

export function routinesOf(all: readonly RoutineRow[], { names = {}, links = [] }: Made = {}): Routines {
  const survey = new Survey()
  for (const { oid, name } of all) survey.add(['f', String(oid), name])
  for (const [node, name] of Object.entries(names)) survey.add([node[0], node.slice(1), name])
  for (const row of links) survey.add(row)
  for (const { oid, name, language = 'plpgsql', source, isCut = false, extension = null } of all) {
    survey.add([String(oid), name, language, source, isCut ? 't' : 'f', extension])
  }
  return survey.finish()
}

/** @throws Error if Postgres refuses the query */
export async function readRoutines(client: WireClient, major: number): Promise<Routines> {
  const survey = new Survey()
  const { rows, error } = await client.query(surveyQuery(major))
  if (error !== null) throw new Error(`${error.code} ${error.message}`)
  for (const row of rows) survey.add(row)
  return survey.finish()
}

/** May a statement come to a function that changes the session, as the scanner sees it? */
export function mayReach(routines: Routines, text: string): boolean {
  const bytes = Buffer.from(text)
  const reading = { flags: STANDARD_UTF8, marked: routines.marked }
  return routines.mayReach(scanFacts(bytes, 0, bytes.length, reading))
}

/** Names of the facts. */
export function factNames(facts: number): string {
  return Object.entries(Fact)
    .filter(([, bit]) => (facts & bit) !== 0)
    .map(([name]) => name)
    .join(' ')
}

const STANDARD_UTF8 = 3
