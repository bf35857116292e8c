// Owns: client A, which does what a script says and keeps what it is told, request by request. Must never
// judge an answer.
import { setTimeout as pause } from 'node:timers/promises'
import * as m from '../support/messages.ts'
import { normalise } from '../support/transcript.ts'
import { type ClientOptions, LoginError, WireClient } from '../support/wire-client.ts'
import { readiesOf } from './batch.ts'
import { dataOf, type Mode, modeAt, requestOf, wholeRequest } from './request.ts'
import type { Script, SqlStep, Step } from './script.ts'
import type { Names } from './text.ts'

/** What happened at one step: the request as the script has it, and all that came until the next one. */
export interface Told {
  readonly at: number
  readonly asked: string
  readonly lines: string[]
}

/** Where A runs. */
export interface Ground {
  readonly client: ClientOptions
  readonly names: Names
  /** Another's time, between two requests of A. */
  gap(actor: WireClient): Promise<void>
  /** Does what happens in a gap come to A's own connection, and is none of A's transcript? */
  readonly isShared: boolean
  peer(sql: string): Promise<void>
  /** ms for each answer. */
  readonly limit: number
}

/** Ends a run early, with the index of the step that was the last. */
export type Watch = (told: readonly Told[]) => boolean

/** All that A is told while it does what the script says. @param goesOn asked after each step */
export async function perform(
  script: Script,
  mode: Mode,
  ground: Ground,
  goesOn: Watch = () => true,
): Promise<Told[]> {
  const told: Told[] = []
  let client: WireClient
  try {
    const { params } = script
    client = await WireClient.connect({ ...ground.client, params, timeout: ground.limit })
  } catch (error) {
    return [{ at: script.at, asked: 'login', lines: linesOf(script, refused(error)) }]
  }
  await using one = client
  let from = 0
  let until = 0
  const note = (at: number, asked: string) => {
    told.push({ at, asked, lines: linesOf(script, one.received.slice(from, until), one.pid) })
  }
  const pass = async () => {
    until = one.received.length
    if (ground.isShared && !/[TE]/.test(one.status)) await ground.gap(one)
    if (!ground.isShared) {
      await ground.gap(one)
      until = one.received.length
    }
  }
  await pass()
  note(script.at, 'login')
  for (const [index, step] of script.steps.entries()) {
    if (!goesOn(told)) return told
    from = one.received.length
    one.drain()
    const failure = await doStep(one, step, { mode: modeAt(script, index, mode), ground })
    if (failure === null) await pass()
    else until = one.received.length
    note(step.at, shown(step))
    if (failure === null) continue
    told.at(-1)?.lines.push(failure)
    return told
  }
  if (!(await hasEnded(one, ground.limit))) told.at(-1)?.lines.push('(the connection was not ended)')
  return told
}

/** Says goodbye. @returns whether the server has closed within so many ms */
async function hasEnded(client: WireClient, limitMs: number): Promise<boolean> {
  const late = new AbortController()
  const isLate = pause(limitMs, true, { signal: late.signal }).catch(() => false)
  const end = await Promise.race([client.end(), isLate])
  late.abort()
  return end !== true
}

/** What the server said to a login that it refused, or what kept it from saying anything. */
function refused(error: unknown): m.BackendMessage[] {
  if (error instanceof LoginError) return error.messages
  throw error
}

/**
 * All that a client can see of these messages, without what the script masks.
 * @param own its process number
 */
export function linesOf(script: Script, messages: readonly m.BackendMessage[], own = 0): string[] {
  // Whether a notification is from the session itself can be told by its process number.
  const senders = messages.flatMap((message) => (message.type === 'A' ? [message.pid] : []))
  return normalise(messages).map((line) => {
    const isTold = script.showsSenders && line.startsWith('A(')
    const from = !isTold ? '' : senders.shift() === own ? ' from itself' : ' from another'
    return script.masks.reduce((text, { pattern, text: by }) => text.replace(pattern, by), line + from)
  })
}

function shown(step: Step): string {
  if (step.kind === 'sql') return step.statements.join('; ')
  if (step.kind === 'batch') return step.messages.join(' / ')
  return `(another does: ${step.sql})`
}

interface How {
  readonly mode: Mode
  readonly ground: Ground
}

/** @returns null, or why there is no answer */
async function doStep(client: WireClient, step: Step, how: How): Promise<string | null> {
  try {
    const from = client.received.length
    if (step.kind === 'peer') await how.ground.peer(step.sql)
    else if (step.kind === 'batch') {
      client.send(wholeRequest(step, how.mode, how.ground.names))
      for (let left = readiesOf(step.messages); left > 0; left--) await client.until('Z')
    } else await askSql(client, step, how)
    const { waits } = step
    const hasCome = client.received.slice(from).some(({ type }) => waits.includes(type))
    if (waits !== '' && !hasCome) await client.until(waits)
    return null
  } catch (error) {
    return `(${(error as Error).message.split(';')[0]})`
  }
}

async function askSql(client: WireClient, step: SqlStep, { mode, ground }: How): Promise<void> {
  if (step.data.length === 0) {
    client.send(wholeRequest(step, mode, ground.names))
    await client.until('Z')
    return
  }
  const isSimple = mode === 'simple'
  client.send(...requestOf(step, mode, ground.names), ...(isSimple ? [] : [m.flush()]))
  const begun = (await client.until(isSimple ? 'GZ' : 'GE')).at(-1)
  if (begun?.type === 'G') client.send(...dataOf(step.data, ground.names))
  if (!isSimple) client.send(m.sync())
  if (begun?.type !== 'Z') await client.until('Z')
}
