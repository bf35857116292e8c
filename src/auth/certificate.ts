// Which user a certificate names. Pure: whether the certificate is to be believed was found in the handshake.
import type { CertName } from '../config/types.ts'
import type { CertificateNames, PeerInfo } from '../wire/byte-stream.ts'
import type { Gate } from './access.ts'

/**
 * Whether one of the names that count is this user.
 * @param isUser the user map: whether who has this name in a certificate may log in as the user
 */
export function namesUser(peer: PeerInfo, which: CertName, isUser: (name: string) => boolean): boolean {
  const certificate = peer.tls?.certificate ?? null
  return certificate !== null && countingNames(certificate, which).some((name) => name !== '' && isUser(name))
}

function countingNames(certificate: CertificateNames, which: CertName): readonly string[] {
  switch (which) {
    case 'CN':
      return [certificate.commonName]
    case 'DN':
      return [certificate.distinguishedName]
    case 'SAN':
      return certificate.alternativeNames
  }
}

/** What a client's certificate comes to: nobody asks for one, it is not there, or names another user. */
export type CertificateVerdict = 'not asked' | 'missing' | 'other user' | 'right'

/** Holds what a connection has shown against what its gate asks for. */
export function judgeCertificate(gate: Gate, peer: PeerInfo): CertificateVerdict {
  const wanted = gate.method === 'cert' ? 'verify-full' : gate.clientCert
  if (wanted === 'no') return 'not asked'
  if ((peer.tls?.certificate ?? null) === null) return 'missing'
  return wanted === 'verify-full' && !gate.namesUser ? 'other user' : 'right'
}
