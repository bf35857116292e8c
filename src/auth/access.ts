// Who may come in, and how: judges a connection by its address, its TLS, its user and database. Pure. It
// checks no password; what is not allowed by a rule is refused.
import type { ClientAuth, ClientConfig, TlsMode } from '../config/types.ts'
import type { PeerInfo } from '../wire/byte-stream.ts'
import { namesUser } from './certificate.ts'
import { type AuthFailure, failure } from './failure.ts'

/** How a client proves who it is. */
export type ClientAuthMethod = Exclude<ClientAuth, 'hba'>

/** A connection that has said what it wants. */
export interface Arrival {
  readonly user: string
  readonly database: string
  /** Physical replication is no database: rules name it apart. */
  readonly isPhysicalReplication: boolean
  readonly peer: PeerInfo
}

/** What it has to show. */
export interface Gate {
  readonly method: ClientAuthMethod
  /** Whether it must have a certificate besides, and one that names the user (Postgres: clientcert). */
  readonly clientCert: 'no' | 'verify-ca' | 'verify-full'
  /** Whether its certificate names the user, through the user map. */
  readonly namesUser: boolean
}

/** The rules of the process; made anew when the configuration changes. */
export class Access {
  readonly #client: ClientConfig
  readonly #tlsOfDatabase: (database: string) => TlsMode

  /** @param tlsOfDatabase the least TLS for clients of a database */
  constructor(client: ClientConfig, tlsOfDatabase: (database: string) => TlsMode) {
    this.#client = client
    this.#tlsOfDatabase = tlsOfDatabase
  }

  /** What this connection has to show, or why it may not come in. */
  judge(arrival: Arrival): Gate | AuthFailure {
    const { peer } = arrival
    const { auth, certMap, certName } = this.#client
    const mode = this.#tlsOfDatabase(arrival.database)
    const needsTls = mode === 'require' || mode === 'verify-ca' || mode === 'verify-full'
    if (needsTls && !peer.encrypted && peer.kind !== 'unix')
      return failure('28000', 'this server requires TLS: connect with sslmode=require')
    const method = auth === 'hba' ? 'scram-sha-256' : auth
    return {
      method,
      clientCert: peer.kind === 'unix' ? 'no' : certificateOf(mode),
      namesUser: namesUser(peer, certName, (name) => certMap === '' && name === arrival.user),
    }
  }
}

/** What a least TLS asks of the certificate of a client. */
function certificateOf(mode: TlsMode): Gate['clientCert'] {
  return mode === 'verify-ca' || mode === 'verify-full' ? mode : 'no'
}
