// Prints the folder for the temporary files of the tests: memory where there is plenty of it. Each test file
// starts a Postgres of its own, and on a disk making its data takes three times as long. Asked once, by the
// scripts of package.json, which say it to everybody by TMPDIR.
import { spawnSync } from 'node:child_process'
import { chmodSync, mkdtempSync, rmSync, statfsSync, writeFileSync } from 'node:fs'
import { freemem, tmpdir } from 'node:os'
import { join } from 'node:path'

const MEMORY = '/dev/shm'
const BYTES_MIN = 6 * 1024 ** 3

/** Is there room, and may programs be run from there? Packed programs are. */
function isUsable(folder: string): boolean {
  try {
    const { bavail, bsize } = statfsSync(folder)
    if (bavail * bsize < BYTES_MIN || freemem() < BYTES_MIN) return false
    const own = mkdtempSync(join(folder, 'pgmux-'))
    try {
      const program = join(own, 'program')
      writeFileSync(program, '#!/bin/sh\n')
      chmodSync(program, 0o755)
      return spawnSync(program).status === 0
    } finally {
      rmSync(own, { recursive: true })
    }
  } catch {
    return false
  }
}

const isChosen = process.env.TMPDIR !== undefined
process.stdout.write(!isChosen && isUsable(MEMORY) ? MEMORY : tmpdir())
