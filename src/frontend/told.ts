// What a client is told of its parameters at its login, as bytes. Most logins of a pool are told the same, so
// it is made once for each pair of what servers told and what the client wants. It owns that memory only.
import { isCarried, type Settings } from '../session/settings.ts'
import { parameterStatus } from '../wire/messages.ts'
import type { Client } from './client.ts'
import type { DefaultChange, Welcome } from './types.ts'

const made = new WeakMap<Welcome, WeakMap<Settings, Buffer>>()

/** ParameterStatus messages: the server's parameters, with the client's own settings in their places. */
export function told(welcome: Welcome, settings: Settings): Buffer {
  let bySettings = made.get(welcome)
  if (bySettings === undefined) {
    bySettings = new WeakMap()
    made.set(welcome, bySettings)
  }
  const known = bySettings.get(settings)
  if (known !== undefined) return known
  const all = new Map(welcome.parameters)
  for (const [name, value] of settings.values) if (all.has(name) && isCarried(name)) all.set(name, value)
  const messages = Array.from(all, ([name, value]) =>
    parameterStatus(Buffer.from(name, 'latin1'), Buffer.from(value, 'latin1')),
  )
  const bytes = Buffer.concat(messages)
  bySettings.set(settings, bytes)
  return bytes
}

/** A default has changed in Postgres. On a server of its own, that server tells the client. */
export function tellDefault(client: Client, { name, before, value }: DefaultChange): void {
  if (client.server !== null || !client.session.followDefault(name, before, value)) return
  client.stream.write(parameterStatus(Buffer.from(name, 'latin1'), Buffer.from(value, 'latin1')))
}
