// Owns fetching a short text over HTTP(S) from an address that the configuration names. It follows no
// redirect, reads no more than it was told, and never asks the network around a machine in the cloud for its
// secrets (link-local addresses), whatever a name comes to mean.
import { type LookupAddress, lookup } from 'node:dns'
import { get as getPlain, type IncomingMessage, type RequestOptions } from 'node:http'
import { get as getSecured } from 'node:https'
import { isInNetwork, parseIp, parseNetwork, unmapped } from '../util/ip.ts'
import { errorWords } from './peer.ts'

export interface GetTextLimits {
  readonly maxBytes: number
  /** For everything, from the name to the last byte. */
  readonly timeoutMs: number
}

const LINK_LOCAL = ['169.254.0.0/16', 'fe80::/10'].flatMap((text) => parseNetwork(text) ?? [])
const HTTP_OK = 200

/** @throws Error (as a rejection) one clause that says why there is no text */
export function getText(url: string, { maxBytes, timeoutMs }: GetTextLimits): Promise<string> {
  const { promise, resolve, reject } = Promise.withResolvers<string>()
  const target = new URL(url)
  if (isRefused(target.hostname.replace(/^\[|\]$/g, ''))) return Promise.reject(new Error(REFUSED))
  const get = target.protocol === 'https:' ? getSecured : getPlain
  const signal = AbortSignal.timeout(timeoutMs)
  const options: RequestOptions = { signal, agent: false, lookup: lookupAllowed, maxHeaderSize: 16 * 1024 }
  const fail = (error: Error): void => {
    const isLate = signal.aborted
    reject(isLate ? new Error(`no answer within ${timeoutMs} ms`) : new Error(errorWords(error)))
  }
  const request = get(target, { ...options, headers: { accept: 'application/json' } }, (response) => {
    if (response.statusCode !== HTTP_OK) {
      reject(new Error(`the answer has status ${response.statusCode}`))
      response.destroy()
      return
    }
    readAll(response, maxBytes).then(resolve, fail)
  })
  request.on('error', fail)
  return promise
}

async function readAll(response: IncomingMessage, maxBytes: number): Promise<string> {
  const chunks: Buffer[] = []
  let total = 0
  for await (const chunk of response as AsyncIterable<Buffer>) {
    total += chunk.length
    // Leaving the loop closes the connection.
    if (total > maxBytes) throw new Error(`the answer is longer than ${maxBytes} bytes`)
    chunks.push(chunk)
  }
  return Buffer.concat(chunks).toString('utf8')
}

const REFUSED = 'link-local addresses are not asked'

function isRefused(address: string): boolean {
  const parsed = parseIp(address)
  if (parsed === null) return false
  return LINK_LOCAL.some(({ network, mask }) => isInNetwork(unmapped(parsed), network, mask))
}

/** As the look-up of node:net, without addresses that are refused. */
const lookupAllowed: NonNullable<RequestOptions['lookup']> = (hostname, options, callback) => {
  lookup(hostname, { ...options, all: true }, (error, found: LookupAddress[]) => {
    const allowed = error === null ? found.filter(({ address }) => !isRefused(address)) : []
    const [first] = allowed
    if (first === undefined) callback(error ?? new Error(REFUSED), '')
    else if (options.all === true) callback(null, allowed)
    else callback(null, first.address, first.family)
  })
}
