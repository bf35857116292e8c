// The scripts of pgbench that loads are made of, and how they get into files. A load of two scripts has them
// by weight. Must never hold a figure that depends on the machine: what has to take a time is measured first.
import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { Client } from 'pg'
import { databaseOf } from './database.ts'
import type { Ground } from './peers.ts'
import {
  ACCOUNTS_PER_SCALE,
  FACTS,
  type Load,
  SELECT_SCALE,
  WIDE_ANSWER,
  WIDE_ROWS,
  WIDE_TABLE,
} from './scenarios.ts'

/** What pgbench is told about one load. */
export interface Scripts {
  /** As in `select.sql@99`. */
  readonly files: readonly string[]
  /** Place of the one whose transactions are timed; null: all. */
  readonly timed: number | null
}

/** ms that a slow query takes when it is alone. */
const SLOW = 50
const CALIBRATIONS = 5
const CALIBRATION_ROWS = 400_000

const AID = `\\set aid random(1, ${ACCOUNTS_PER_SCALE * SELECT_SCALE})\n`
const SELECT = `${AID}SELECT abalance FROM pgbench_accounts WHERE aid = :aid;\n`
const UPDATE = `${AID}\\set delta random(-5000, 5000)
BEGIN;
SELECT abalance FROM pgbench_accounts WHERE aid = :aid;
UPDATE pgbench_accounts SET abalance = abalance + :delta WHERE aid = :aid;
COMMIT;
`
const WIDE = `\\set from random(1, ${WIDE_ROWS - WIDE_ANSWER})
SELECT a, b FROM ${WIDE_TABLE} WHERE a BETWEEN :from AND :from + ${WIDE_ANSWER - 1};
`

/** Writes what these loads need into the folder of the bench. */
export async function writeScripts(ground: Ground, loads: readonly Load[]): Promise<Map<Load, Scripts>> {
  const all = new Map<Load, Scripts>()
  for (const load of loads) {
    if (FACTS[load].how !== 'script') continue
    const parts = await partsOf(ground, load)
    const files: string[] = []
    for (const [i, { text, weight }] of parts.entries()) {
      const file = join(ground.folder, `${load}-${i}.sql`)
      await writeFile(file, text)
      files.push(`${file}@${weight}`)
    }
    all.set(load, { files, timed: load.startsWith('mixed-') ? 0 : null })
  }
  return all
}

async function partsOf(ground: Ground, load: Load): Promise<{ text: string; weight: number }[]> {
  const select = (weight: number) => ({ text: SELECT, weight })
  if (load === 'mixed-wait') {
    return [select(99), { text: `SELECT pg_sleep(${SLOW / 1000});\n`, weight: 1 }]
  }
  if (load === 'mixed-work') return [select(99), { text: series(await rowsOfSlow(ground)), weight: 1 }]
  if (load === 'mostly-read') return [select(9), { text: UPDATE, weight: 1 }]
  return [{ text: WIDE, weight: 1 }]
}

function series(rows: number): string {
  return `SELECT count(*) FROM generate_series(1, ${rows});\n`
}

/** @returns how many rows Postgres counts in the time of a slow query; the quickest of a few runs tells */
async function rowsOfSlow({ login }: Ground): Promise<number> {
  const client = new Client({ ...login, database: databaseOf('mixed-work') })
  await client.connect()
  try {
    let least = Number.POSITIVE_INFINITY
    for (let i = 0; i < CALIBRATIONS; i++) {
      const began = performance.now()
      await client.query(series(CALIBRATION_ROWS))
      least = Math.min(least, performance.now() - began)
    }
    return Math.round((CALIBRATION_ROWS * SLOW) / least)
  } finally {
    await client.end()
  }
}
