// Which requests are heard at all: whom they must name as host, where they may come from, what may be posted.
// Pure; it knows no user. All of it is against pages of strangers in the browser of somebody who may look.
import type { HttpRequest } from '../../net/http.ts'
import { parseIp } from '../../util/ip.ts'
import { Refused } from './answers.ts'

/** @throws Refused where the host is a name that somebody else could have given to this address */
export function checkHost({ headers }: HttpRequest, own: string): void {
  const name = hostOf(headers.host ?? '')
  if (parseIp(name) !== null || name === 'localhost' || name === own.toLowerCase()) return
  throw new Refused(
    421,
    'the dashboard answers to an IP address, to localhost or to the name in admin.host, to no other name',
  )
}

/** The name without its port; '' for what is none. */
function hostOf(text: string): string {
  const match = /^(?:\[([0-9a-fA-F:.]+)\]|([^:[\]/@\s]+))(?::\d{1,5})?$/.exec(text)
  return (match?.[1] ?? match?.[2] ?? '').toLowerCase()
}

/** @throws Refused for what a page of somebody else asks for: browsers say so */
export function checkSite({ headers }: HttpRequest): void {
  const site = headers['sec-fetch-site']
  if (site === undefined || site === 'same-origin' || site === 'none') return
  throw new Refused(403, 'only the page of the dashboard may ask for this')
}

/** @throws Refused for what no page of ours posts */
export function checkPost({ headers }: HttpRequest): void {
  const [type] = (headers['content-type'] ?? '').split(';')
  if (type.trim().toLowerCase() !== 'application/json')
    throw new Refused(403, 'what is posted here must have the content-type application/json')
  const { origin, host = '' } = headers
  if (origin === undefined || sameHost(origin, host)) return
  throw new Refused(403, 'only the page of the dashboard may post here')
}

function sameHost(origin: string, host: string): boolean {
  const match = /^https?:\/\/([^/]+)$/i.exec(origin)
  return match !== null && match[1].toLowerCase() === host.toLowerCase()
}
