// Owns the Postgres that runs when none is configured: from a folder to a connection string, and its end.
// Must never be imported by the pooler's own layers: it is an upstream like any other.
import { mkdtemp, rm } from 'node:fs/promises'
import { join, resolve } from 'node:path'
import { EmbeddedError } from './account.ts'
import { type Binaries, findBinaries, reachableBinaries } from './binaries.ts'
import { handOver, type Home, keptHome, passwordOf, SHELTER } from './home.ts'
import { TEMPORARY, temporaryHome, temporaryRoot } from './home.ts'
import { noteOwner, reclaim, sweep } from './orphan.ts'
import { checkVersion, createData, type EmbeddedExit, PortTaken, Postmaster } from './postmaster.ts'

export { EmbeddedError } from './account.ts'
export type { EmbeddedExit } from './postmaster.ts'

/** What to start. */
export interface EmbeddedOptions {
  /** Folder kept between starts; not looked at when `ephemeral`. */
  dataDir: string
  /** A temporary folder, removed by stop(); written without fsync. */
  ephemeral: boolean
  /** Loopback port; 0 or none: a free one. */
  port?: number
  /** Settings on top of the ones chosen here, by name. */
  settings?: Readonly<Record<string, string>>
  /** Folder with bin/ and lib/ of another Postgres than the installed package. */
  native?: string
  /** Holds data and programs where the account that root lends cannot reach them; SHELTER by default. */
  shelter?: string
  /** Receives each line of Postgres' log. It may hold what clients sent: for a debug log only. */
  onLog?: (line: string) => void
}

/** For a machine of one's own: enough connections, and everything a client may want to try. */
export const SETTINGS: Readonly<Record<string, string>> = {
  max_connections: '200',
  wal_level: 'logical',
  max_wal_senders: '10',
  max_replication_slots: '10',
  max_prepared_transactions: '20',
  unix_socket_permissions: '0700',
}

/** What is lost with the folder need not survive a power cut. */
const EPHEMERAL: Readonly<Record<string, string>> = {
  fsync: 'off',
  synchronous_commit: 'off',
  full_page_writes: 'off',
}

/** Free ports are drawn from here: above pgmux' own, below what systems give to outgoing connections. */
const FIRST_PORT = 15_000
const PORTS = 16_000
const PORT_TRIES = 20

/**
 * Starts a Postgres of its own on 127.0.0.1, with SCRAM-SHA-256 and a random password.
 * @returns the running server
 * @throws EmbeddedError: one sentence that says what is wrong and what to do
 */
export async function startEmbedded(options: EmbeddedOptions): Promise<EmbeddedPostgres> {
  const shelter = options.shelter ?? SHELTER
  const found = await findBinaries(options.native)
  const home = options.ephemeral ? await temporaryHome() : await keptHome(options.dataDir, shelter)
  try {
    if (options.ephemeral) await sweep(home.account)
    const binaries = await reachableBinaries(found, home.account, shelter)
    const password = await passwordOf(home)
    if (home.fresh) await createData(binaries, home, !options.ephemeral)
    else await checkVersion(binaries, home)
    const server = new EmbeddedPostgres(options, binaries, home, password)
    await server.start()
    return server
  } catch (cause) {
    if (options.ephemeral) await rm(home.dir, { recursive: true, force: true })
    throw cause
  }
}

/** An embedded Postgres: running from startEmbedded() to stop(). */
export class EmbeddedPostgres {
  readonly host = '127.0.0.1'
  readonly user = 'postgres'
  readonly database = 'postgres'
  readonly password: string
  /** Major version, as in 17. */
  readonly major: number
  /** Full version, as in `17.10`. */
  readonly version: string
  /** The folder really used. */
  readonly dataDir: string
  /** What the user should know about this start, in sentences; mostly none. */
  readonly notices: string[] = []
  readonly #options: EmbeddedOptions
  readonly #binaries: Binaries
  readonly #home: Home
  #port: number
  #socketDir = ''
  #postmaster: Postmaster | null = null

  constructor(options: EmbeddedOptions, binaries: Binaries, home: Home, password: string) {
    this.#options = options
    this.#binaries = binaries
    this.#home = home
    this.#port = options.port ?? 0
    this.password = password
    this.major = binaries.major
    this.version = binaries.version
    this.dataDir = home.dir
    const { account } = home
    if (account) this.notices.push(`Postgres does not run as root: it runs as ${account.name}`)
    if (!options.ephemeral && home.dir !== resolve(options.dataDir)) {
      this.notices.push(
        `${account?.name} cannot reach ${resolve(options.dataDir)}: the data are kept in ${home.dir}`,
      )
    }
  }

  get port(): number {
    return this.#port
  }

  /** Folder of the Unix socket; '' on Windows. */
  get socketDir(): string {
    return this.#socketDir
  }

  /** Process number of the postmaster; 0 while it does not run. */
  get pid(): number {
    return this.#postmaster?.running ? this.#postmaster.pid : 0
  }

  /** Connection string, with the password. */
  get url(): string {
    return `postgres://${this.user}:${this.password}@${this.host}:${this.#port}/${this.database}`
  }

  /** Settles when the running Postgres ends, for whatever reason. */
  get exited(): Promise<EmbeddedExit> {
    if (!this.#postmaster) throw new EmbeddedError('the embedded Postgres was not started')
    return this.#postmaster.exited
  }

  /**
   * Starts it again after halt(), on the same port with the same data.
   * @throws EmbeddedError
   */
  async start(): Promise<void> {
    const { account, dir } = this.#home
    await reclaim(dir, account)
    if (this.#socketDir === '' && process.platform !== 'win32') this.#socketDir = await this.#makeSocketDir()
    try {
      this.#postmaster = await this.#startOnFreePort()
    } catch (cause) {
      await this.#removeSocketDir()
      throw cause
    }
    await noteOwner(dir, this.#postmaster.pid, account)
  }

  /** Ends Postgres, keeping its folder: `immediate` is what a crash looks like to clients. */
  async halt(mode: 'fast' | 'immediate'): Promise<void> {
    await this.#postmaster?.stop(mode)
  }

  /** Ends Postgres and, when ephemeral, removes its folder. Safe to call twice. */
  async stop(): Promise<void> {
    await this.halt('fast')
    await this.#removeSocketDir()
    if (this.#options.ephemeral) await rm(this.#home.dir, { recursive: true, force: true })
  }

  async #startOnFreePort(): Promise<Postmaster> {
    const settings = { ...SETTINGS, ...(this.#options.ephemeral ? EPHEMERAL : {}), ...this.#options.settings }
    const shared = { binaries: this.#binaries, home: this.#home, socketDir: this.#socketDir, settings }
    for (let tries = 1; ; tries++) {
      const port = this.#port || FIRST_PORT + Math.floor(Math.random() * PORTS)
      try {
        const postmaster = await Postmaster.start({ ...shared, port, onLog: this.#options.onLog })
        this.#port = port
        return postmaster
      } catch (cause) {
        // Postgres' own attempt to listen is the only test of a port without a race.
        if (!(cause instanceof PortTaken) || this.#port !== 0 || tries === PORT_TRIES) throw cause
      }
    }
  }

  async #makeSocketDir(): Promise<string> {
    const { account, dir } = this.#home
    if (this.#options.ephemeral) return dir
    // A kept folder may lie deep, and a socket's path has about 100 bytes.
    const socketDir = await mkdtemp(join(await temporaryRoot(account), TEMPORARY))
    await handOver(socketDir, account)
    return socketDir
  }

  async #removeSocketDir(): Promise<void> {
    if (this.#socketDir && this.#socketDir !== this.#home.dir)
      await rm(this.#socketDir, { recursive: true, force: true })
    this.#socketDir = ''
  }
}
