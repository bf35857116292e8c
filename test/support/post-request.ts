// Owns: the bytes of a query as functions send it, for tests of who reads them. Must never send anything.

export const BODY = '{"query":"select 1"}'
/** A line that makes a request the last one. */
export const CLOSE = 'Connection: close\r\n'

/** @param more lines beside the usual ones */
export function post(body: string = BODY, more = '', first = 'POST /sql HTTP/1.1'): string {
  return `${first}\r\nHost: h\r\nAccept: */*\r\n${more}Content-Length: ${body.length}\r\n\r\n${body}`
}

/** A turn of the event loop, in which a server in this process reads what was written. */
export function aTurn(): Promise<void> {
  return new Promise((resolve) => setImmediate(() => setImmediate(resolve)))
}
