// A data folder that initdb has made once for all test files: copying it takes a quarter of the time. It lies
// in node_modules/.cache, under a name that says what made it; without a place there each file runs initdb.
import { execFileSync } from 'node:child_process'
import { createHash, randomBytes } from 'node:crypto'
import { existsSync, mkdirSync, readFileSync, renameSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { type EmbeddedPostgres, startEmbedded } from '../../src/embedded/embedded.ts'
import { TEMPORARY } from '../../src/embedded/home.ts'

const ROOT = fileURLToPath(new URL('../../', import.meta.url))
/** As for a temporary one: nothing here survives a power cut. */
const VOLATILE = { fsync: 'off', synchronous_commit: 'off', full_page_writes: 'off' }

/** What is wished of a server. */
export interface Wishes {
  readonly native: string | undefined
  readonly settings: Readonly<Record<string, string>>
}

/** A server with data of its own, copied; `stop` removes them. */
export async function startCopied({ native, settings }: Wishes): Promise<EmbeddedPostgres> {
  const own = { ephemeral: true, dataDir: '', settings, ...(native === undefined ? {} : { native }) }
  const template = templateOf(native)
  if (template === null) return startEmbedded(own)
  if (!existsSync(template)) {
    const first = await startEmbedded(own)
    await first.halt('fast')
    keep(first.dataDir, template)
    await first.start()
    return first
  }
  const dataDir = join(tmpdir(), TEMPORARY + randomBytes(6).toString('hex'))
  execFileSync('cp', ['-a', template, dataDir])
  const server = await startEmbedded({
    ...own,
    ephemeral: false,
    dataDir,
    settings: { ...VOLATILE, ...settings },
  })
  const stop = server.stop.bind(server)
  server.stop = async () => {
    await stop()
    rmSync(dataDir, { recursive: true, force: true })
  }
  return server
}

/** Where the template for these programs lies, or will; null: nowhere. */
function templateOf(native: string | undefined): string | null {
  const cache = join(ROOT, 'node_modules/.cache')
  try {
    mkdirSync(cache, { recursive: true })
  } catch {
    return null
  }
  const mark = createHash('sha256').update(native ?? '')
  for (const file of ['package-lock.json', 'src/embedded/postmaster.ts'])
    mark.update(readFileSync(join(ROOT, file)))
  return process.platform === 'win32' ? null : join(cache, `postgres-${mark.digest('hex').slice(0, 16)}`)
}

/** Several files may begin at once: whoever is first has made it. */
function keep(dataDir: string, template: string): void {
  const made = `${template}.${process.pid}`
  execFileSync('cp', ['-a', dataDir, made])
  rmSync(join(made, 'owner'), { force: true })
  try {
    renameSync(made, template)
  } catch {
    rmSync(made, { recursive: true, force: true })
  }
}
