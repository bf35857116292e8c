// Owns the one coarse timer for streams that were ended by us and wait for their peer to close its half. Must
// never hold a timer while no stream waits, nor keep the process alive.

/** A stream on its way out. */
export interface Lingering {
  /** Called about once a second until `stopLingering`. Must not throw. */
  lingerTick(): void
}

/** Milliseconds between two calls of `lingerTick`. */
export const LINGER_TICK_MS = 1000

const waiting = new Set<Lingering>()
let timer: NodeJS.Timeout | null = null

/** Puts a stream on the list. */
export function startLingering(stream: Lingering): void {
  waiting.add(stream)
  timer ??= setInterval(tick, LINGER_TICK_MS).unref()
}

/** Takes a stream off the list; harmless when it is not on it. */
export function stopLingering(stream: Lingering): void {
  if (!waiting.delete(stream) || waiting.size > 0 || timer === null) return
  clearInterval(timer)
  timer = null
}

function tick(): void {
  for (const stream of waiting) stream.lingerTick()
}
