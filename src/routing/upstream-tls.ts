// TLS to Postgres as the files of a configuration say. They are read once for a configuration, when it is
// loaded (at the start and at each reload, which makes a new one), and never for a connection: a file that is
// being replaced cannot hurt a login. It keeps what was read as long as that configuration is in use; a
// reload makes its routes anew, and these have the new files.
import type { Config, ServerTlsConfig } from '../config/types.ts'
import { ClientContext, type ClientTlsOptions } from '../net/tls-client.ts'
import type { TlsSettings } from '../wire/byte-stream.ts'

/** By settings: places with equal ones share what was read. */
type Contexts = Map<string, ClientContext>

const READ = new WeakMap<Config, Contexts>()

/**
 * Reads all files that the upstream and the databases of this configuration name. Call it before the
 * configuration is put to use.
 * @throws CertificateError
 */
export function readUpstreamTls(config: Config): void {
  const { upstream, databases } = config
  settingsFor(config, upstream.host, upstream.tls)
  for (const { host = upstream.host, tls } of databases.values())
    settingsFor(config, host, { ...upstream.tls, ...tls })
}

/**
 * What we send to this host and ask of it.
 * @returns null: no TLS, which is for connections that cross a network, not for sockets in the file system
 * @throws CertificateError where these settings were not read with the configuration and cannot be now
 */
export function settingsFor(config: Config, host: string, tls: ServerTlsConfig): TlsSettings | null {
  const { mode, caFile, certFile, keyFile, minVersion } = tls
  if (mode === 'disable' || host === '' || host.startsWith('/')) return null
  const options: ClientTlsOptions = { mode, caFile, certFile, keyFile, minVersion }
  const key = JSON.stringify(options)
  const contexts: Contexts = READ.get(config) ?? new Map()
  READ.set(config, contexts)
  const context = contexts.get(key) ?? new ClientContext(options)
  contexts.set(key, context)
  return context.forHost(host)
}
