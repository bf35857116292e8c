// Owns the HTTP server of the admin endpoint: limits, timeouts, errors. Must never know what is served.
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http'
import { reportHandlerError } from './handler-errors.ts'
import { bind, type Listener, listenError, listenerOf } from './listen.ts'

export type { IncomingMessage as HttpRequest, ServerResponse as HttpResponse }

/** Answers one request. An exception, or a rejected promise, becomes a 500 without its text. */
export type HttpHandler = (request: IncomingMessage, response: ServerResponse) => void | Promise<void>

const LIMITS = {
  maxHeaderSize: 16 * 1024,
  headersTimeout: 10_000,
  requestTimeout: 30_000,
  keepAliveTimeout: 5_000,
  connectionsCheckingInterval: 5_000,
}
const MAX_CONNECTIONS = 256

/**
 * Serves HTTP. `close` stops accepting and closes idle connections; running answers are finished.
 * @throws Error one sentence that says what to do, when the address is taken or not allowed.
 */
export async function serveHttp(
  options: { host: string; port: number },
  handler: HttpHandler,
): Promise<Listener> {
  const server = createServer(LIMITS, (request, response) => void answer(request, response, handler))
  server.maxConnections = MAX_CONNECTIONS
  await bind(server, options).catch((error: Error) => {
    throw listenError(error, options)
  })
  server.on('error', (error) => reportHandlerError(error, 'the HTTP listener'))
  const listener = listenerOf(server)
  return {
    ...listener,
    async close() {
      await listener.close()
      server.closeIdleConnections()
    },
  }
}

async function answer(
  request: IncomingMessage,
  response: ServerResponse,
  handler: HttpHandler,
): Promise<void> {
  try {
    await handler(request, response)
  } catch (thrown) {
    reportHandlerError(thrown, `HTTP ${request.method} ${(request.url ?? '').split('?')[0]}`)
    if (response.headersSent) {
      response.destroy()
      return
    }
    response.writeHead(500, { 'content-type': 'text/plain' })
    response.end('internal error\n')
  }
}
