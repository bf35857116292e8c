// Owns what is inside a NotificationResponse: who sent it, on which channel, with what. Pure: bytes in,
// values out. It never makes text of a payload, which only the client can read.
import type { Framer } from './framer.ts'

const PID_AT = 5
const NAME_AT = 9

/** Process id of the backend that sent it. The message must be whole. */
export function pidOf(src: Buffer, start: number): number {
  return src.readInt32BE(start + PID_AT)
}

/** Its channel, one character a byte; null for a message that is broken. */
export function channelOf(src: Buffer, start: number, stop: number): string | null {
  const nameStop = src.indexOf(0, start + NAME_AT)
  // Behind the name comes a payload, which ends the message.
  if (nameStop < 0 || nameStop + 1 >= stop || src[stop - 1] !== 0) return null
  return src.toString('latin1', start + NAME_AT, nameStop)
}

/** Its payload, one character a byte. @param channel what `channelOf` gave */
export function payloadOf(src: Buffer, start: number, stop: number, channel: string): string {
  return src.toString('latin1', start + NAME_AT + channel.length + 1, stop - 1)
}

/**
 * The message for a client that knows the backend `pid` as `known` (absent: it was told none). It may be the
 * beginning of one.
 */
export function toldAs({ src, start, stop }: Framer, pid: number, known: number | undefined): Buffer {
  const bytes = src.subarray(start, stop)
  // A broken one is passed on as it is.
  if (known === undefined || stop - start < NAME_AT || pidOf(src, start) !== pid) return bytes
  return withPid(bytes, known)
}

/** The same message as if another backend had sent it; `message` stays as it is. */
export function withPid(message: Buffer, pid: number): Buffer {
  const copy = Buffer.from(message)
  copy.writeInt32BE(pid | 0, PID_AT)
  return copy
}

/** A name of a channel, one character a byte, as LISTEN and NOTIFY take it. */
export function quotedChannel(name: string): string {
  return `"${name.replaceAll('"', '""')}"`
}
