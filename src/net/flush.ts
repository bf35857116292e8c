// Owns the list of streams that hold unsent bytes and the one moment, at the end of each turn of the event
// loop, at which they are handed to the kernel. Must never call a handler or look at bytes.

/** A stream that collects what is written to it until it is told to hand it over. */
export interface Flushable {
  /** Hands everything collected to the socket. Must not throw. */
  flush(): void
}

const dirty: Flushable[] = []

// A stream puts itself on the list once per turn. The check phase of the event loop runs after all sockets
// that were readable have been read, so that the answers to many requests leave in one system call per
// stream.
export function flushAtEndOfTurn(stream: Flushable): void {
  if (dirty.push(stream) === 1) setImmediate(flushAll)
}

function flushAll(): void {
  for (let i = 0; i < dirty.length; i++) dirty[i].flush()
  dirty.length = 0
}
