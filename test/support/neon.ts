// Owns: pointing the unmodified serverless drivers at a pooler of a test: addresses, the two versions,
// the two kinds of WebSocket, and taking all of it back. Must never patch a driver: what it is told is
// what its users can tell it.
import assert from 'node:assert/strict'
import { afterEach } from 'node:test'
import * as current from '@neondatabase/serverless'
import * as previous from 'neon-serverless-1.1.0'
import { WebSocket as NodeStyle } from 'ws'
import type { TestPooler } from './pooler.ts'
import type { TestPostgres } from './postgres.ts'

/** A version of the driver. */
export type Neon = typeof current
export type Settings = Partial<Neon['neonConfig']['opts']>
export type NeonClient = InstanceType<Neon['Client']>

/** A driver, and what it makes WebSockets with. */
export interface Way {
  readonly name: string
  readonly neon: Neon
  /** Undefined: the global one, of Node itself. */
  readonly socket: Settings['webSocketConstructor']
}

/** Both versions; the types of the older one differ in names only. */
export const DRIVERS: readonly { readonly version: string; readonly neon: Neon }[] = [
  { version: '1.2.0', neon: current },
  { version: '1.1.0', neon: previous as unknown as Neon },
]

/** Every driver with `ws` and with Node's own WebSocket. */
export const WAYS: readonly Way[] = DRIVERS.flatMap(({ version, neon }) => [
  { name: `${version} with ws`, neon, socket: NodeStyle },
  { name: `${version} with Node's WebSocket`, neon, socket: undefined },
])

/** A host that is in no DNS: whoever resolves it instead of asking the endpoint fails. */
export const HOST = 'db.example.test'

/** `host:port` of the endpoint. */
export function endpointOf({ pooler }: TestPooler): string {
  const at = pooler.addresses.serverless
  assert.ok(at !== null, 'the endpoint is on')
  return `${at.host}:${at.port}`
}

/** Switches the endpoint on, on a free port, with these options. */
export function on<T extends object>(options?: T): { host: string; port: number } & T {
  return { host: '127.0.0.1', port: 0, ...(options as T) }
}

/** The connection string that an application has; `change` gives parts of it another value. */
export function urlOf(postgres: TestPostgres, change: Partial<URL> = {}): string {
  const { user, password, database } = postgres
  // URL does not let a scheme of ours be given user and password.
  const url = new URL(`http://${HOST}/${encodeURIComponent(database)}`)
  url.username = encodeURIComponent(user)
  url.password = encodeURIComponent(password)
  Object.assign(url, change)
  return `postgresql:${url.href.slice(url.protocol.length)}`
}

/** Points a driver at the endpoint until the end of the test. */
export function aim(
  { neon, socket }: Pick<Way, 'neon' | 'socket'>,
  at: TestPooler,
  more: Settings = {},
): void {
  const address = endpointOf(at)
  neon.neonConfig.opts = {
    wsProxy: () => `${address}/v2`,
    fetchEndpoint: () => `http://${address}/sql`,
    useSecureWebSocket: false,
    webSocketConstructor: socket,
    ...more,
  }
}

/** Settings of a driver are global: each test starts with none. */
export function resetAfterEach(): void {
  afterEach(() => {
    for (const { neon } of DRIVERS) neon.neonConfig.opts = {}
  })
}

/** A client that is connected, and ends with `run`. */
export async function withClient<T>(
  neon: Neon,
  url: string,
  run: (client: NeonClient) => Promise<T>,
): Promise<T> {
  const client = new neon.Client(url)
  // A pipelined login that fails is told twice where nobody ends the client in time.
  client.on('error', () => {})
  await client.connect()
  try {
    return await run(client)
  } finally {
    await client.end()
  }
}

/** What a rejected promise is rejected with. @throws AssertionError where it is not */
export async function errorOf<T extends object>(
  promise: PromiseLike<unknown>,
  kind: abstract new (...given: never[]) => T,
): Promise<T> {
  const error = await promise.then(
    () => assert.fail('no error came'),
    (reason: unknown) => reason,
  )
  assert.ok(error instanceof kind, `${(error as object)?.constructor?.name}: ${error}`)
  return error
}

/** WebSockets of `ws` that tell their close codes. */
export function recorder(): {
  socket: Settings['webSocketConstructor']
  closes: Promise<[code: number, reason: string]>[]
} {
  const closes: Promise<[number, string]>[] = []
  class Recorded extends NodeStyle {
    constructor(url: string) {
      super(url)
      closes.push(
        new Promise((resolve) => {
          this.on('close', (code, reason) => resolve([code, String(reason)]))
        }),
      )
    }
  }
  return { socket: Recorded, closes }
}
