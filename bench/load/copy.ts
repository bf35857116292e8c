// COPY at line rate, over one connection: reads and throws away, or sends the same bytes again and again.
// Must never look at a row.
import * as m from '../../test/support/messages.ts'
import type { Measured } from '../figures.ts'
import { BULK_ROW, BULK_ROWS, BULK_TABLE } from '../scenarios.ts'
import { type Connection, open, type Target } from './connection.ts'
import { KeyRing } from './scram.ts'
import { asked } from './transactions.ts'

export interface CopyJob {
  readonly kind: 'copy'
  readonly load: 'copy-out' | 'copy-in'
  readonly target: Target
  readonly seconds: number
}

const MB = 1e6
const OUT = `copy ${BULK_TABLE} to stdout (format binary)`
/** Postgres reads every row and keeps none: what is measured is the way to it, not its disk. */
const IN = `copy ${BULK_TABLE} from stdin (format binary) where false`
/** Rows of one CopyData, as psql sends them: some 8 KB. */
const ROWS_PER_MESSAGE = 8
const MESSAGES_PER_WRITE = 8

/** Whole COPYs one after another until the time is over. */
export async function runCopy(job: CopyJob): Promise<Measured> {
  const connection = await open(job.target, new KeyRing(job.target.password))
  const from = performance.now()
  const until = from + job.seconds * 1000
  let bytes = 0
  do {
    bytes += job.load === 'copy-out' ? await copyOut(connection) : await copyIn(connection)
  } while (performance.now() < until)
  const seconds = (performance.now() - from) / 1000
  return { amount: bytes / MB, rate: bytes / MB / seconds, latency: null }
}

async function copyOut(connection: Connection): Promise<number> {
  const before = connection.received
  await asked(connection, m.query(OUT))
  return connection.received - before
}

function copyIn(connection: Connection): Promise<number> {
  return new Promise((resolve, reject) => {
    let sent = 0
    const writes = Math.ceil(BULK_ROWS / (ROWS_PER_MESSAGE * MESSAGES_PER_WRITE))
    const { socket } = connection
    const chunk = chunkOfRows()
    let left = writes
    let over = false
    const send = (): void => {
      while (left > 0 && !over) {
        left--
        sent += chunk.length
        if (!socket.write(chunk)) {
          socket.once('drain', send)
          return
        }
      }
      if (over) return
      over = true
      socket.write(Buffer.concat([m.copyData(trailer()), m.copyDone()]))
    }
    const begin = (): void => {
      socket.write(m.copyData(header()))
      send()
    }
    connection.copyIn(IN, begin, (trouble) => {
      over = true
      socket.removeListener('drain', send)
      if (trouble === null) resolve(sent)
      else reject(new Error(trouble.message))
    })
  })
}

/** The beginning of COPY's binary format: its signature, no flags, no extension. */
function header(): Buffer {
  return Buffer.concat([Buffer.from('PGCOPY\n\xff\r\n\0', 'latin1'), Buffer.alloc(8)])
}

function trailer(): Buffer {
  return Buffer.from([0xff, 0xff])
}

function chunkOfRows(): Buffer {
  const row = Buffer.alloc(2 + 4 + 4 + 4 + BULK_ROW, 'x')
  row.writeInt16BE(2, 0)
  row.writeInt32BE(4, 2)
  row.writeInt32BE(1, 6)
  row.writeInt32BE(BULK_ROW, 10)
  const message = m.copyData(Buffer.concat(Array.from({ length: ROWS_PER_MESSAGE }, () => row)))
  return Buffer.concat(Array.from({ length: MESSAGES_PER_WRITE }, () => message))
}
