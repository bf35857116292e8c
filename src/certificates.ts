// The certificates of the process: files that become others are read again without a reload, and the end of
// our own is told in time. It owns the watch over the files; who uses what is in them renews it.
import { X509Certificate } from 'node:crypto'
import type { Config } from './config/types.ts'
import type { Log } from './observe/log.ts'
import { FileWatch, marksOf } from './util/file-watch.ts'
import { readFileNow } from './util/read-file.ts'

const DAY_MS = 86_400_000
/** Before it ends, a certificate is complained about for so long, once a day. */
const WARN_MS = 14 * DAY_MS

/** Which connections the files are for. */
export type Side = 'client' | 'upstream'

export interface CertificatesParts {
  /** Reads the files of this side again and uses them. @throws one sentence; then the old ones stay in use */
  renew(side: Side): void
  readonly log: Log
  /** Milliseconds since 1970. */
  wallClock(): number
}

/** State of the files before they were read. */
export type Marks = Readonly<Record<Side, string>>

export class Certificates {
  readonly #parts: CertificatesParts
  readonly #watches: Readonly<Record<Side, FileWatch>>
  readonly #daily: NodeJS.Timeout
  #files: Readonly<Record<Side, readonly string[]>> = { client: [], upstream: [] }
  #own: readonly string[] = []
  #ends: ReadonlyMap<string, number> = new Map()

  constructor(parts: CertificatesParts) {
    this.#parts = parts
    this.#watches = {
      client: new FileWatch(() => this.#renew('client')),
      upstream: new FileWatch(() => this.#renew('upstream')),
    }
    this.#daily = setInterval(() => this.#warn(), DAY_MS).unref()
  }

  /** When each of our own ends, in seconds since 1970, by file. */
  get ends(): ReadonlyMap<string, number> {
    return this.#ends
  }

  /** To be called before the files are read. */
  marks(config: Config): Marks {
    return { client: marksOf(clientFiles(config)), upstream: marksOf(upstreamFiles(config)) }
  }

  /** The files of this configuration are in use, as they were when `marks` was taken. */
  follow(config: Config, marks: Marks): void {
    this.#files = { client: clientFiles(config), upstream: upstreamFiles(config) }
    this.#own = ownCertificates(config)
    for (const side of ['client', 'upstream'] as const)
      this.#watches[side].follow(this.#files[side], marks[side])
    this.#warn()
  }

  close(): void {
    for (const watch of Object.values(this.#watches)) watch.close()
    clearInterval(this.#daily)
  }

  #renew(side: Side): void {
    const { log, renew } = this.#parts
    const files = this.#files[side]
    try {
      renew(side)
      log.info({ files }, 'certificates were read again: new connections use them')
      this.#warn()
    } catch (thrown) {
      // The other one of a pair is on its way, or somebody has made a mistake.
      const error = (thrown as Error).message
      log.warn({ files, error }, 'new certificates cannot be used: the old ones stay in use')
    }
  }

  #warn(): void {
    const ends = new Map<string, number>()
    for (const file of this.#own) {
      const end = endOf(file)
      if (end === null) continue
      ends.set(file, end / 1000)
      const left = end - this.#parts.wallClock()
      if (left > WARN_MS) continue
      const fields = { file, ends: new Date(end).toISOString() }
      this.#parts.log.warn(fields, left > 0 ? 'a certificate will expire soon' : 'a certificate has expired')
    }
    this.#ends = ends
  }
}

function endOf(file: string): number | null {
  try {
    return Date.parse(new X509Certificate(readFileNow(file)).validTo)
  } catch {
    return null
  }
}

function clientFiles({ client: { tls }, serverless }: Config): string[] {
  const ordinary = tls.mode === 'disable' ? [] : [tls.certFile, tls.keyFile, tls.caFile]
  return given([...ordinary, serverless.tls.certFile, serverless.tls.keyFile])
}

function upstreamFiles({ upstream, databases }: Config): string[] {
  const all = [upstream.tls, ...Array.from(databases.values(), ({ tls }) => tls ?? {})]
  return given(all.flatMap(({ certFile, keyFile, caFile }) => [certFile, keyFile, caFile]))
}

function ownCertificates(config: Config): string[] {
  const { client, serverless, upstream, databases } = config
  const towards = [upstream.tls, ...Array.from(databases.values(), ({ tls }) => tls ?? {})]
  const ours = client.tls.mode === 'disable' ? [] : [client.tls.certFile]
  return given([...ours, serverless.tls.certFile, ...towards.map(({ certFile }) => certFile)])
}

function given(files: readonly (string | undefined)[]): string[] {
  return [...new Set(files)].filter((file) => file !== undefined && file !== '') as string[]
}
