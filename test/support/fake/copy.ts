// Owns: COPY in the model, both ways. Must never keep what was copied: only lines are counted.

import type { Steps } from './language.ts'
import type { Session } from './session.ts'
import { answer, type ClientMessage, Fields, PgError } from './wire.ts'

/** Counts lines, wherever messages cut them. */
class Lines {
  count = 0
  #rest = ''
  readonly #table: string

  constructor(table: string) {
    this.#table = table
  }

  add(data: string): void {
    const lines = (this.#rest + data).split('\n')
    this.#rest = lines.pop() ?? ''
    for (const line of lines) this.#line(line)
  }

  end(): void {
    if (this.#rest !== '') this.#line(this.#rest)
  }

  #line(line: string): void {
    this.count++
    if (this.#table !== 'numbers' || /^\s*-?\d+\s*$/.test(line)) return
    throw new PgError('22P02', `invalid input syntax for type integer: "${line}"`, 'ERROR', {
      W: `COPY numbers, line ${this.count}, column n: "${line}"`,
    })
  }
}

/** COPY FROM STDIN: takes messages until CopyDone; Flush and Sync are ignored meanwhile. @returns the tag */
export function* copyIn(session: Session, table: string): Steps<string> {
  session.emit(answer.copyResponse('G', 1))
  yield* session.flush()
  const lines = new Lines(table)
  for (;;) {
    const message = yield* session.read()
    if (message.type === 'H' || message.type === 'S') continue
    if (message.type === 'c') {
      lines.end()
      return `COPY ${lines.count}`
    }
    if (message.type !== 'd') throw yield* refuse(session, message, `COPY ${table}, line ${lines.count + 1}`)
    session.checkCancel()
    lines.add(message.body.toString('utf8'))
  }
}

/** Postgres has read only the type when it refuses a message, and so loses its place in the stream. */
function* refuse(session: Session, message: ClientMessage, where: string): Steps<PgError> {
  if (message.type === 'f') {
    const reason = new Fields(message.body).text()
    return new PgError('57014', `COPY from stdin failed: ${reason}`, 'ERROR', { W: where })
  }
  const type = message.type.charCodeAt(0).toString(16).toUpperCase().padStart(2, '0')
  const text = `unexpected message type 0x${type} during COPY from stdin`
  session.emit(answer.error(new PgError('08P01', text, 'ERROR', { W: where })))
  yield* session.flush()
  return new PgError('08P01', 'terminating connection because protocol synchronization was lost', 'FATAL')
}

/** COPY TO STDOUT. @returns the tag */
export function* copyOut(session: Session, lines: readonly string[]): Steps<string> {
  session.emit(answer.copyResponse('H', 1))
  for (const line of lines) {
    session.emit(answer.copyData(line))
    yield* session.spill()
  }
  session.emit(answer.bare('c'))
  return `COPY ${lines.length}`
}
