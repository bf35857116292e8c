// The rules of the section `tracing`: where traces go, and what is said there. Opens no socket. Problems are
// collected, not thrown; a header never stands in one.
import { parseHeaders } from '../util/header-list.ts'
import { type Path, type ResolveContext, readSecret, rule } from './rules.ts'
import type { FileConfig } from './schema.ts'
import type { TracingConfig } from './types.ts'

const at = (key: string): Path => ['tracing', key]

/** The section, with its headers read. */
export function resolveTracing(context: ResolveContext, { tracing }: FileConfig): TracingConfig {
  const { endpoint, sample, service_name: serviceName } = tracing
  const url = endpoint === '' ? null : URL.parse(endpoint)
  const isUrl = url !== null && /^https?:$/.test(url.protocol) && url.hash === ''
  const text = 'expects a URL of http or https, like http://127.0.0.1:4318/v1/traces'
  rule(context, [at('endpoint')], endpoint !== '' && !isUrl, text)
  const hasUser = url !== null && (url.username !== '' || url.password !== '')
  rule(context, [at('endpoint')], hasUser, 'must not hold a password; use tracing.headers')
  return { endpoint, sample, serviceName, headers: resolveHeaders(context, tracing) }
}

function resolveHeaders(
  context: ResolveContext,
  { headers, headers_file: file }: FileConfig['tracing'],
): string {
  const both = headers !== '' && file !== ''
  rule(context, [at('headers'), at('headers_file')], both, 'stands beside "headers_file"; remove one')
  const path = file === '' ? at('headers') : at('headers_file')
  const text = file === '' ? headers : (readSecret(context, path, file) ?? '')
  const isWrong = parseHeaders(text) === null
  rule(context, [path], isWrong, 'expects headers as name=value, with commas between them')
  return text
}
