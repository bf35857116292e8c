// Keys and tokens for tests: an issuer that signs, and a place on this machine where it publishes its keys.
// Its tokens are secrets: no pooler may put one out.
import { createServer, type Server } from 'node:http'
import { exportJWK, generateKeyPair, type JWK, type JWTPayload, SignJWT } from 'jose'
import { isSecret } from './known-secrets.ts'

export const ISSUER = 'https://issuer.example'
export const AUDIENCE = 'pgmux'

type Pair = Awaited<ReturnType<typeof generateKeyPair>>

/** What a token says besides the usual; undefined leaves out what is usual. */
export interface TokenWishes {
  readonly claims?: JWTPayload
  readonly header?: Readonly<Record<string, unknown>>
}

export class Issuer {
  readonly alg: string
  kid: string
  #pair: Pair

  private constructor(alg: string, kid: string, pair: Pair) {
    this.alg = alg
    this.kid = kid
    this.#pair = pair
  }

  static async create(alg = 'ES256', kid = 'key-1'): Promise<Issuer> {
    return new Issuer(alg, kid, await generateKeyPair(alg, { extractable: true }))
  }

  /** Signs with another key from now on. */
  async rotate(kid: string): Promise<void> {
    this.kid = kid
    this.#pair = await generateKeyPair(this.alg, { extractable: true })
  }

  async publicJwk(): Promise<JWK> {
    return { ...(await exportJWK(this.#pair.publicKey)), kid: this.kid, use: 'sig', alg: this.alg }
  }

  async privateJwk(): Promise<JWK> {
    return { ...(await exportJWK(this.#pair.privateKey)), kid: this.kid }
  }

  /** The set of keys, as it is published. */
  async keys(...others: readonly JWK[]): Promise<string> {
    return JSON.stringify({ keys: [await this.publicJwk(), ...others] })
  }

  /** A token that is good for five minutes, unless the wishes say otherwise. */
  async token({ claims = {}, header = {} }: TokenWishes = {}): Promise<string> {
    const now = Math.floor(Date.now() / 1000)
    const said = { iss: ISSUER, aud: AUDIENCE, sub: 'somebody', exp: now + 300, ...claims }
    const token = await new SignJWT(JSON.parse(JSON.stringify(said)) as JWTPayload)
      .setProtectedHeader({ alg: this.alg, kid: this.kid, ...header })
      .sign(this.#pair.privateKey)
    isSecret('a token', token)
    return token
  }
}

/** What a server for keys answers. */
export interface KeyAnswer {
  status?: number
  headers?: Readonly<Record<string, string>>
  body: string
}

/** Publishes keys on this machine. */
export class KeyServer {
  answer: KeyAnswer = { body: '{"keys":[]}' }
  requests = 0
  #server: Server

  private constructor(server: Server) {
    this.#server = server
  }

  static async start(body: string): Promise<KeyServer> {
    const server = createServer()
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
    const made = new KeyServer(server)
    made.answer = { body }
    server.on('request', (_request, response) => {
      made.requests++
      response.writeHead(made.answer.status ?? 200, made.answer.headers ?? {})
      response.end(made.answer.body)
    })
    return made
  }

  get url(): string {
    const address = this.#server.address()
    return `http://127.0.0.1:${address !== null && typeof address === 'object' ? address.port : 0}/keys`
  }

  async stop(): Promise<void> {
    this.#server.closeAllConnections()
    await new Promise((resolve) => this.#server.close(resolve))
  }
}
