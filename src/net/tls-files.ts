// Reads the files that TLS needs, and says in one sentence what is wrong with one. Must never log or quote a
// key.
import { createPrivateKey, X509Certificate } from 'node:crypto'
import { readFileNow } from '../util/read-file.ts'
import { errorWords } from './peer.ts'

/** A certificate or key that cannot be used: one sentence that names the file. */
export class CertificateError extends Error {
  override name = 'CertificateError'
}

/** A certificate with its chain, and its key. */
export interface Pair {
  readonly cert: Buffer
  readonly key: Buffer
  /** The first one: whoever shows it is who it names. */
  readonly certificate: X509Certificate
}

/**
 * Reads a certificate (with its chain) and its key, both PEM.
 * @throws CertificateError where one cannot be read, or they do not belong together
 */
export function readPair(certFile: string, keyFile: string): Pair {
  const cert = readPem(certFile, 'TLS certificate')
  const key = readPem(keyFile, 'TLS key')
  const certificate = parsed(() => new X509Certificate(cert), `${certFile} holds no PEM certificate`)
  const privateKey = parsed(() => createPrivateKey(key), `${keyFile} holds no PEM key without a passphrase`)
  if (!certificate.checkPrivateKey(privateKey)) {
    throw new CertificateError(
      `the TLS key ${keyFile} does not belong to the certificate ${certFile}; give the key it was made with`,
    )
  }
  return { cert, key, certificate }
}

/**
 * Reads the certificates of authorities, PEM, one or more in a file.
 * @throws CertificateError
 */
export function readAuthorities(file: string): Buffer {
  const all = readPem(file, 'TLS authorities')
  const blocks = all.toString('latin1').match(/-----BEGIN CERTIFICATE-----[^-]*-----END CERTIFICATE-----/g)
  if (blocks === null) throw new CertificateError(`${file} holds no PEM certificate`)
  for (const [i, block] of blocks.entries()) {
    parsed(() => new X509Certificate(block), `certificate ${i + 1} in ${file} cannot be read`)
  }
  return all
}

function readPem(file: string, what: string): Buffer {
  try {
    return readFileNow(file)
  } catch (error) {
    throw new CertificateError(`the ${what} ${file} cannot be read: ${errorWords(error as Error)}`)
  }
}

function parsed<T>(parse: () => T, complaint: string): T {
  try {
    return parse()
  } catch {
    throw new CertificateError(complaint)
  }
}
