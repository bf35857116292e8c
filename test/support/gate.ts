// Owns: a TCP proxy between pooler and Postgres that a test can hold, cut, make deaf or let speak TLS. It
// tells sessions from cancel requests. Must never change a byte unless the test's own hook does.
import { connect, createServer, type Server, type Socket } from 'node:net'
import { TLSSocket } from 'node:tls'

const SSL_REQUEST = 80877103
const CANCEL_REQUEST = 80877102
/** Longest first packet that is waited for. */
const PACKET_MAX = 10_000

/** One connection through the gate. */
export class Link {
  kind: 'new' | 'session' | 'cancel' = 'new'
  isEncrypted = false
  /** Process number that a cancel request names. */
  cancelPid = 0
  near: Socket
  readonly far: Socket
  /** The beginning of its first packet. */
  first: Buffer = Buffer.alloc(0)

  constructor(near: Socket, far: Socket) {
    this.near = near
    this.far = far
  }

  /** Both ends at once, with a RST. */
  cut(): void {
    if (this.isEncrypted) this.near.destroy()
    else this.near.resetAndDestroy()
    this.far.destroy()
  }
}

/** PEM texts. */
export interface Certificate {
  key: string
  cert: string
}

/** What a test may lay its hand on. */
export interface GateHooks {
  /** A cancel request has come and goes on to Postgres when this resolves. */
  onCancel?: (link: Link) => Promise<void>
  /** Bytes of Postgres for a session. Null: they are swallowed. */
  onAnswer?: (chunk: Buffer, link: Link) => Buffer | null
  /** Bytes of the pooler for a session. Null: they are swallowed. */
  onRequest?: (chunk: Buffer, link: Link) => Buffer | null
}

export class Gate {
  hooks: GateHooks = {}
  /** All connections so far, in order. */
  readonly links: Link[] = []
  readonly #server: Server
  readonly #target: { host: string; port: number }
  readonly #tls: Certificate | null

  private constructor(server: Server, target: { host: string; port: number }, tls: Certificate | null) {
    this.#server = server
    this.#target = target
    this.#tls = tls
    server.on('connection', (socket) => this.#accept(socket))
  }

  /** @param tls with a certificate the gate speaks TLS to the pooler (and none to Postgres) */
  static async open(target: { host: string; port: number }, tls: Certificate | null = null): Promise<Gate> {
    const server = createServer({ noDelay: true, allowHalfOpen: true })
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
    return new Gate(server, { host: target.host, port: target.port }, tls)
  }

  get port(): number {
    return (this.#server.address() as { port: number }).port
  }

  /** A URL with this gate in the place of the server. */
  url(url: string): string {
    const changed = new URL(url)
    changed.hostname = '127.0.0.1'
    changed.port = String(this.port)
    return changed.href
  }

  get sessions(): Link[] {
    return this.links.filter(({ kind, near }) => kind === 'session' && !near.destroyed)
  }

  get cancels(): Link[] {
    return this.links.filter(({ kind }) => kind === 'cancel')
  }

  async close(): Promise<void> {
    for (const link of this.links) link.cut()
    await new Promise<void>((resolve) => this.#server.close(() => resolve()))
  }

  #accept(near: Socket): void {
    const far = connect({ ...this.#target, noDelay: true, allowHalfOpen: true })
    const link = new Link(near, far)
    this.links.push(link)
    far.on('data', (chunk: Buffer) => {
      const bytes = link.kind === 'session' ? answer(this.hooks, chunk, link) : chunk
      if (bytes !== null) link.near.write(bytes)
    })
    far.on('end', () => link.near.end())
    far.on('error', () => link.near.destroy())
    far.on('close', () => link.near.end())
    this.#listen(link, near)
  }

  #listen(link: Link, near: Socket): void {
    near.on('data', (chunk: Buffer) => this.#request(link, chunk))
    near.on('end', () => link.far.end())
    near.on('error', () => link.far.destroy())
    near.on('close', () => link.far.destroy())
  }

  #request(link: Link, chunk: Buffer): void {
    if (link.kind === 'session') {
      const bytes = this.hooks.onRequest === undefined ? chunk : this.hooks.onRequest(chunk, link)
      if (bytes !== null) link.far.write(bytes)
      return
    }
    link.first = Buffer.concat([link.first, chunk])
    const { first } = link
    // A packet may come in pieces.
    if (first.length < 8 || first.length < Math.min(first.readInt32BE(0), PACKET_MAX)) return
    link.first = Buffer.alloc(0)
    this.#packet(link, first)
  }

  /** What a connection says first. */
  #packet(link: Link, chunk: Buffer): void {
    const code = chunk.readInt32BE(4)
    if (code === SSL_REQUEST && this.#tls !== null) {
      this.#secure(link, this.#tls)
      return
    }
    if (code === CANCEL_REQUEST) {
      link.kind = 'cancel'
      link.cancelPid = chunk.readInt32BE(8)
      const wait = this.hooks.onCancel?.(link) ?? Promise.resolve()
      void wait.then(() => link.far.write(chunk))
      return
    }
    if (code !== SSL_REQUEST) link.kind = 'session'
    link.far.write(chunk)
  }

  #secure(link: Link, tls: Certificate): void {
    const plain = link.near
    plain.removeAllListeners('data')
    plain.write('S')
    link.near = new TLSSocket(plain, { isServer: true, ...tls })
    link.isEncrypted = true
    this.#listen(link, link.near)
  }
}

function answer(hooks: GateHooks, chunk: Buffer, link: Link): Buffer | null {
  return hooks.onAnswer === undefined ? chunk : hooks.onAnswer(chunk, link)
}
