// Who may come in, and how: judges a connection by its address, its TLS, its user and database. Pure. It
// checks no password; what is not allowed by a rule is refused.
import type { CertName, ClientAuth, ClientCert, ClientConfig, TlsMode } from '../config/types.ts'
import type { PeerInfo, WebPeer } from '../wire/byte-stream.ts'
import { namesUser } from './certificate.ts'
import { type AuthFailure, failure } from './failure.ts'
import { type LocalAddress, matchingRule, refusedByHba } from './hba.ts'
import { isMapped } from './user-map.ts'

/** How a client proves who it is. */
export type ClientAuthMethod = Exclude<ClientAuth, 'hba'>

/** A connection that has said what it wants. */
export interface Arrival {
  readonly user: string
  readonly database: string
  /** Other names of it: a rule for one of them is one for all. */
  readonly aliases?: readonly string[]
  /** Physical replication is no database: rules name it apart. */
  readonly isPhysicalReplication: boolean
  readonly peer: PeerInfo
}

/** What it has to show. */
export interface Gate {
  readonly method: ClientAuthMethod
  /** A rule names the addresses for which it trusts; otherwise `trust` is for this machine only. */
  readonly trustsAnywhere: boolean
  /** Whether it must have a certificate besides, and one that names the user (Postgres: clientcert). */
  readonly clientCert: ClientCert
  /** Whether its certificate names the user, through the user map. */
  readonly namesUser: boolean
}

/** What the rules rest on, besides the configuration. */
export interface AccessFacts {
  /** The least TLS for clients of a database. */
  tlsOfDatabase(database: string): TlsMode
  /** The addresses of this machine, now. */
  localAddresses(): readonly LocalAddress[]
}

/** The rules of the process; made anew when the configuration changes. */
export class Access {
  readonly #client: ClientConfig
  readonly #facts: AccessFacts

  constructor(client: ClientConfig, facts: AccessFacts) {
    this.#client = client
    this.#facts = facts
  }

  /** What this connection has to show, or why it may not come in. */
  judge(arrival: Arrival): Gate | AuthFailure {
    const { web } = arrival.peer
    if (web !== undefined && !web.isOriginAllowed) return strangePage()
    const gate = this.#gateOf(arrival)
    if (web === undefined || 'sqlstate' in gate || gate.method !== 'trust') return gate
    // Without a password a browser could be made to ask for others: their page, or a name that they gave us.
    return webProblem(web) ?? gate
  }

  #gateOf(arrival: Arrival): Gate | AuthFailure {
    const { peer } = arrival
    const { auth } = this.#client
    const mode = this.#facts.tlsOfDatabase(arrival.database)
    const needsTls = mode === 'require' || mode === 'verify-ca' || mode === 'verify-full'
    if (needsTls && !peer.encrypted && peer.kind !== 'unix')
      return failure('28000', 'this server requires TLS: connect with sslmode=require')
    if (auth === 'hba') return this.#judgeByHba(arrival, mode)
    const clientCert = peer.kind === 'unix' ? 'no' : certificateFor(mode)
    return { method: auth, trustsAnywhere: false, clientCert, namesUser: this.#names(arrival, this.#client) }
  }

  /** Whether its certificate names the user it wants to be. */
  #names({ peer, user }: Arrival, by: { certName: CertName; certMap: string }): boolean {
    const { identFile } = this.#client
    return namesUser(peer, by.certName, (name) => isMapped(identFile, by.certMap, name, user))
  }

  #judgeByHba(arrival: Arrival, mode: TlsMode): Gate | AuthFailure {
    const { peer } = arrival
    const rule = matchingRule(this.#client.hbaFile, arrival, () => this.#facts.localAddresses())
    if (rule === null) return refusedByHba(arrival, null)
    const { method } = rule
    // As Postgres, which looks for the certificate before it looks at the method.
    if (rule.clientCert !== 'no' && (peer.tls?.certificate ?? null) === null)
      return failure('28000', 'connection requires a valid client certificate')
    if (method === 'reject') return refusedByHba(arrival, rule)
    const clientCert = peer.kind === 'unix' ? 'no' : stricter(rule.clientCert, certificateFor(mode))
    const trustsAnywhere = method === 'trust'
    return { method, trustsAnywhere, clientCert, namesUser: this.#names(arrival, rule) }
  }
}

function strangePage(): AuthFailure {
  const hint = 'List the origin of the page in serverless.allowed_origins.'
  return { ...failure('28000', 'pages of this web site may not connect'), hint }
}

function webProblem({ isOriginNamed, isHostKnown }: WebPeer): AuthFailure | null {
  if (!isOriginNamed) {
    const hint = 'List the origin of the page in serverless.allowed_origins, or ask for a password.'
    return { ...failure('28000', 'pages that are not listed may not log in without a password'), hint }
  }
  if (isHostKnown) return null
  const hint = 'Use localhost or an IP address, or list the name in serverless.allowed_hosts.'
  return { ...failure('28000', 'logging in without a password is not allowed under this host name'), hint }
}

/** What a mode of TLS asks of a client's certificate. */
function certificateFor(mode: TlsMode): ClientCert {
  return mode === 'verify-ca' || mode === 'verify-full' ? mode : 'no'
}

function stricter(one: ClientCert, other: ClientCert): ClientCert {
  if (one === 'no' || other === 'verify-full') return other
  return one
}
