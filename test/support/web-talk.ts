// Owns: a WebSocket to a rig's pooler on which Postgres is spoken by hand: everything sent at once, or in any
// pieces. Must never answer a question of the server by itself.
import * as m from './messages.ts'
import type { Overrides } from './pooler.ts'
import type { TestPostgres } from './postgres.ts'
import { Rig } from './rig.ts'
import { until } from './waits.ts'
import { TestWebSocket, type UpgradeOptions } from './web-socket.ts'

/** A rig whose pooler listens for WebSockets as well, and knows the user of Postgres by its password. */
export function webRig(postgres: TestPostgres, overrides: Overrides = {}): Promise<Rig> {
  const users = new Map([[postgres.user, { secret: postgres.password }]])
  const { serverless, ...others } = overrides
  return Rig.start(postgres, { users, ...others, serverless: { host: '127.0.0.1', port: 0, ...serverless } })
}

/** Its port for WebSockets. */
export function webPortOf(rig: Rig): number {
  return rig.test.pooler.addresses.serverless?.port ?? 0
}

/** A WebSocket, and the messages of Postgres that came over it. */
export class Talk {
  readonly socket: TestWebSocket
  readonly said: m.BackendMessage[] = []
  readonly #parser = new m.BackendParser()

  constructor(socket: TestWebSocket) {
    this.socket = socket
    socket.on('data', (chunk: Buffer) => this.said.push(...this.#parser.push(chunk)))
  }

  static async open(rig: Rig, options: UpgradeOptions = {}): Promise<Talk> {
    return new Talk(await TestWebSocket.open({ port: webPortOf(rig), ...options }))
  }

  get types(): string {
    return this.said.map(({ type }) => type).join('')
  }

  count(type: string): number {
    return this.said.filter((message) => message.type === type).length
  }

  until(isTrue: () => boolean): Promise<void> {
    return until(isTrue, () => this.types)
  }

  get error(): m.MessageOf<'E'> | undefined {
    return this.said.find((message) => message.type === 'E')
  }
}
