// `pgmux tunnel`: local programs that know only TCP reach Postgres through the WebSocket endpoint of pgmux.
// It owns the local listener and the list of connections, and ends with a signal. It never logs in for
// anybody, and never reads what passes.
import { isLoopbackHost, parseAddress } from '../config/units.ts'
import { type Listener, listen } from '../net/listen.ts'
import type { ByteStream } from '../wire/byte-stream.ts'
import { shownUrl } from '../net/ws-dial.ts'
import { type Arguments, UsageError } from './arguments.ts'
import { keepYoungGenerationSmall } from './heap.ts'
import { Pair, refuse } from './tunnel-pair.ts'

/** Where programs connect unless it is said. */
const LISTEN = '127.0.0.1:5433'
/** Connections at a time: each is two sockets of this process, and 1,024 open files are a usual limit. */
const CONNECTIONS_MAX = 500
/** The same failure is told once in this time. */
const SAME_FAILURE_MS = 1000
/** How long connections may take to end in good order when the tunnel stops. */
const STOP_MS = 2000

const FULL = {
  code: '53300',
  message: `the tunnel has ${CONNECTIONS_MAX} connections open, which is its limit`,
}

/** @returns the exit code, when a signal has ended it. @throws UsageError, or Error where it cannot listen */
export async function tunnel(given: Arguments): Promise<number> {
  keepYoungGenerationSmall()
  const url = endpointOf(given.target)
  const { host, port } = localAddress(given)
  const pairs = new Pairs(url)
  const signal = new Promise<void>((resolve) => {
    for (const name of ['SIGTERM', 'SIGINT', 'SIGQUIT'] as const) process.on(name, () => resolve())
    // Without a handler this one would open Node's inspector.
    process.on('SIGUSR1', () => {})
  })
  const listener = await listen({ host, port }, (stream) => pairs.add(stream))
  announce(listener, url)
  await signal
  await listener.close()
  await pairs.stop()
  return 0
}

function endpointOf(target: string): URL {
  const example = 'as in: pgmux tunnel ws://127.0.0.1:6480/v2'
  if (target === '') throw new UsageError(`tunnel needs the URL of the endpoint, ${example}`)
  const url = URL.parse(target)
  if (url === null || url.hostname === '' || !/^wss?:$/.test(url.protocol))
    throw new UsageError(`tunnel needs a URL that begins with ws:// or wss://, ${example}`)
  if (url.hash !== '')
    throw new UsageError('the URL of the endpoint has a part behind #, which it cannot have')
  return url
}

function localAddress({ flags, allowRemote }: Arguments): { host: string; port: number } {
  const text = flags.listen ?? LISTEN
  let address: { host: string; port: number }
  try {
    address = parseAddress(text)
  } catch (error) {
    throw new UsageError(`--listen: ${(error as Error).message}`)
  }
  if (!isLoopbackHost(address.host) && !allowRemote) {
    throw new UsageError(
      `--listen ${text} lets other machines in, over connections that nobody encrypts; ` +
        'take 127.0.0.1, or say --allow-remote as well',
    )
  }
  return address
}

function announce({ address, port }: Listener, url: URL): void {
  const host = address.includes(':') ? `[${address}]` : address
  process.stdout.write(
    `pgmux tunnel: ${host}:${port} to ${shownUrl(url)}\n` +
      `pgmux connect: postgres://USER@${host}:${port}/DATABASE\n`,
  )
}

/** The open connections. */
class Pairs {
  readonly #url: URL
  readonly #open = new Set<Pair>()
  #lastFailure = ''
  #quietUntil = 0
  #onEmpty: (() => void) | null = null

  constructor(url: URL) {
    this.#url = url
  }

  add(stream: ByteStream): void {
    if (this.#open.size >= CONNECTIONS_MAX) {
      this.#tell(FULL.message)
      refuse(stream, Buffer.alloc(0), FULL, () => {})
      return
    }
    const pair: Pair = new Pair(stream, this.#url, {
      onFailed: (sentence) => this.#tell(sentence),
      onGone: () => this.#remove(pair),
    })
    this.#open.add(pair)
  }

  #remove(pair: Pair): void {
    this.#open.delete(pair)
    if (this.#open.size === 0) this.#onEmpty?.()
  }

  /** Resolves when all have ended, or did not in time. */
  async stop(): Promise<void> {
    if (this.#open.size === 0) return
    for (const pair of this.#open) pair.close()
    await new Promise<void>((resolve) => {
      this.#onEmpty = resolve
      setTimeout(resolve, STOP_MS).unref()
    })
  }

  #tell(sentence: string): void {
    const now = performance.now()
    if (sentence === this.#lastFailure && now < this.#quietUntil) return
    this.#lastFailure = sentence
    this.#quietUntil = now + SAME_FAILURE_MS
    process.stderr.write(`pgmux tunnel: ${sentence}\n`)
  }
}
