// The statements with which a client's channels are brought to its server, read there and taken away again.
// Texts only. They are ASCII, whatever the client's encoding: names travel as hexadecimal digits. Everything
// is qualified, for the search path is the client's.
import { quotedChannel } from '../wire/notification.ts'

/**
 * Says, on the server, under which token its channels were brought. A setting is rolled back with the
 * transaction or to the savepoint as LISTEN is, and UNLISTEN * does not take it away: so at the end it tells
 * whether they were there when the client's own statements ran.
 */
const SETTING = 'pgmux.channels'
const IS_BROUGHT = `pg_catalog.current_setting('${SETTING}', true)`
const ENCODING = 'pg_catalog.getdatabaseencoding()'

/**
 * Listens to these channels, unless that was done under the same token and still holds: a second time would
 * bring back what the client has given up since.
 */
export function bringText(names: Iterable<string>, token: string): string {
  const list = Array.from(names, (name) => Buffer.from(name, 'latin1').toString('hex')).join(',')
  const name = `pg_catalog.convert_from(pg_catalog.decode(c, 'hex'), ${ENCODING})`
  return `DO $pgmux$ DECLARE c pg_catalog.text; BEGIN
IF ${IS_BROUGHT} OPERATOR(pg_catalog.=) '${token}' THEN RETURN; END IF;
PERFORM pg_catalog.set_config('${SETTING}', '${token}', false);
FOREACH c IN ARRAY pg_catalog.string_to_array('${list}', ',') LOOP
EXECUTE pg_catalog.format('LISTEN %I', ${name});
END LOOP; END $pgmux$`
}

/** Tells the token and the channels, and listens to a sign from here on. One text is one transaction. */
export function readText(sign: string): string {
  const names = `pg_catalog.encode(pg_catalog.convert_to(c, ${ENCODING}), 'hex')`
  return `SET TRANSACTION ISOLATION LEVEL READ COMMITTED;SET LOCAL statement_timeout = 0;
LISTEN ${quotedChannel(sign)};SELECT ${IS_BROUGHT}, pg_catalog.string_agg(${names}, ',')
FROM pg_catalog.pg_listening_channels() c`
}

/** The names in the second column of that row, one character a byte. */
export function namesOf(list: string | null): string[] {
  if (list === null || list === '') return []
  return list.split(',').map((digits) => Buffer.from(digits, 'hex').toString('latin1'))
}

/** Nothing of it is left on the server. */
export const CLEAR_TEXT = `UNLISTEN *;SELECT pg_catalog.set_config('${SETTING}', '', false)`

/** A mark of a hub, of which nobody waits until it has reached a disk. */
export function markText(channel: string, token: string): string {
  return `SET LOCAL synchronous_commit = off;NOTIFY ${quotedChannel(channel)}, '${token}'`
}

/** The same as one statement, inside a transaction of the client. */
export function plainMarkText(channel: string, token: string): string {
  return `NOTIFY ${quotedChannel(channel)}, '${token}'`
}
