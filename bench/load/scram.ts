// The client's side of SCRAM-SHA-256 for many logins in a second: a password is salted once and the keys are
// kept, as RFC 5802 section 5 allows. Must never salt a password for each login: that would measure the load
// client.
import { createHash, createHmac, createSecretKey, type KeyObject, pbkdf2Sync, randomBytes } from 'node:crypto'

const MECHANISM = 'SCRAM-SHA-256'
const HEADER = 'n,,'
/** base64 of HEADER. */
const BINDING = 'biws'
const KEY_LENGTH = 32

interface Keys {
  readonly client: Buffer
  /** A key object: with bytes Node takes several times as long, for every login. */
  readonly stored: KeyObject
  readonly server: Buffer
}

const hmac = (key: KeyObject, text: string): Buffer => createHmac('sha256', key).update(text).digest()

function derive(password: string, salt: Buffer, rounds: number): Keys {
  const salted = createSecretKey(pbkdf2Sync(password, salt, rounds, KEY_LENGTH, 'sha256'))
  const client = hmac(salted, 'Client Key')
  return {
    client,
    stored: createSecretKey(createHash('sha256').update(client).digest()),
    server: hmac(salted, 'Server Key'),
  }
}

/** @returns the form in which Postgres and poolers keep a password: `SCRAM-SHA-256$4096:...` */
export function verifierOf(password: string, rounds = 4096): string {
  const salt = randomBytes(16)
  const { stored, server } = derive(password, salt, rounds)
  const [salt64, stored64, server64] = [salt, stored.export(), server].map((part) => part.toString('base64'))
  return `${MECHANISM}$${rounds}:${salt64}$${stored64}:${server64}`
}

/** The keys of one password, one pair for each salt that a server named. */
export class KeyRing {
  readonly #password: string
  readonly #keys = new Map<string, Keys>()

  /** @param password '' : a proof that is wrong, which costs nothing to make */
  constructor(password: string) {
    this.#password = password
  }

  /** How often the password had to be salted. */
  get size(): number {
    return this.#keys.size
  }

  /** @returns what proves the password in this conversation */
  proof(salt: string, rounds: number, signed: string): Buffer {
    if (this.#password === '') return randomBytes(KEY_LENGTH)
    const name = `${rounds} ${salt}`
    let keys = this.#keys.get(name)
    if (keys === undefined) {
      keys = derive(this.#password, Buffer.from(salt, 'base64'), rounds)
      this.#keys.set(name, keys)
    }
    const proof = hmac(keys.stored, signed)
    for (let i = 0; i < proof.length; i++) proof[i]! ^= keys.client[i]!
    return proof
  }
}

/** One conversation. It does not check the server's proof: the load has nothing to hide. */
export class ScramTalk {
  readonly #keys: KeyRing
  readonly #bare = `n=,r=${randomBytes(18).toString('base64')}`

  constructor(keys: KeyRing) {
    this.#keys = keys
  }

  first(): { mechanism: string; data: string } {
    return { mechanism: MECHANISM, data: `${HEADER}${this.#bare}` }
  }

  /** @throws where the server's first message is none */
  answer(serverFirst: string): string {
    const match = /^(r=[^,]+),s=([^,]+),i=(\d+)/.exec(serverFirst)
    if (match === null) throw new Error('the server sent a malformed SCRAM message')
    const [, nonce, salt, rounds] = match
    const withoutProof = `c=${BINDING},${nonce}`
    const proof = this.#keys.proof(salt!, Number(rounds), `${this.#bare},${serverFirst},${withoutProof}`)
    return `${withoutProof},p=${proof.toString('base64')}`
  }
}
