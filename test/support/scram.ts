// Owns: the client's side of SCRAM-SHA-256 for test clients, written from RFC 5802 and 7677. Must
// never import from src/auth: it is the independent view that src/auth is tested with.

import { createHash, createHmac, pbkdf2Sync, randomBytes } from 'node:crypto'

const hmac = (key: Uint8Array, text: string) => createHmac('sha256', key).update(text).digest()
const hash = (data: Uint8Array) => createHash('sha256').update(data).digest()

function attributes(text: string): Record<string, string> {
  return Object.fromEntries(text.split(',').map((part) => [part.slice(0, 1), part.slice(2)]))
}

/** One SCRAM conversation; passwords are taken as they are (ASCII: SASLprep changes nothing). */
export class ScramClient {
  readonly mechanism: string
  readonly #password: string
  readonly #gs2: string
  readonly #binding: Uint8Array
  readonly #nonce = randomBytes(18).toString('base64')
  #serverSignature = ''

  /**
   * @param binding hash of the server's certificate for SCRAM-SHA-256-PLUS; `null` for none
   * @param couldBind true when this client would have bound the channel, had the server offered it ('y')
   */
  constructor(password: string, binding: Uint8Array | null, couldBind = false) {
    this.#password = password
    this.mechanism = binding === null ? 'SCRAM-SHA-256' : 'SCRAM-SHA-256-PLUS'
    this.#gs2 = binding !== null ? 'p=tls-server-end-point,,' : couldBind ? 'y,,' : 'n,,'
    this.#binding = binding ?? Buffer.alloc(0)
  }

  first(): string {
    return `${this.#gs2}${this.#firstBare()}`
  }

  /** The answer to the server's first message. @throws when the server's nonce does not extend ours */
  answer(serverFirst: string): string {
    const { r: nonce = '', s: salt = '', i: rounds = '' } = attributes(serverFirst)
    if (!nonce.startsWith(this.#nonce)) throw new Error('SCRAM: the server changed the nonce of the client')
    const salted = pbkdf2Sync(this.#password, Buffer.from(salt, 'base64'), Number(rounds), 32, 'sha256')
    const clientKey = hmac(salted, 'Client Key')
    const bound = Buffer.concat([Buffer.from(this.#gs2), this.#binding]).toString('base64')
    const withoutProof = `c=${bound},r=${nonce}`
    const signed = `${this.#firstBare()},${serverFirst},${withoutProof}`
    const signature = hmac(hash(clientKey), signed)
    const proof = Buffer.from(clientKey.map((byte, i) => byte ^ (signature[i] as number))).toString('base64')
    this.#serverSignature = hmac(hmac(salted, 'Server Key'), signed).toString('base64')
    return `${withoutProof},p=${proof}`
  }

  /** @throws when the server did not prove that it knows the password as well */
  finish(serverFinal: string): void {
    const { v: signature } = attributes(serverFinal)
    if (signature !== this.#serverSignature) throw new Error('SCRAM: the signature of the server is wrong')
  }

  /** The user name is empty, as Postgres' own clients send it: the startup packet names the user. */
  #firstBare(): string {
    return `n=,r=${this.#nonce}`
  }
}
