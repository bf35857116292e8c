// A command of a client of this process, where other processes share the work: it is run in all of them, and
// what comes of it is one answer. Without others it is run here. It owns nothing.
import type { Value } from '../../wire/rows.ts'
import { COMMANDS } from './commands.ts'
import { isAskedOfAll, isDoneByAll, mergeAll, partsOf } from './merge.ts'
import type { Command, ConsoleFellows, Operator } from './types.ts'

/** The rows of a command, of all processes. */
export async function rowsOfAll(command: Command, operator: Operator): Promise<Iterable<readonly Value[]>> {
  const { fellows } = operator.source
  const isKnown = COMMANDS.includes(command)
  if (fellows === null || !isKnown || !isAskedOfAll(command)) return command.rows?.(operator) ?? []
  return rowsOfFellows(command, fellows)
}

/** The same where nobody of them is asked for more than the others. */
export async function rowsOfFellows(
  command: Command,
  fellows: Pick<ConsoleFellows, 'rows'>,
): Promise<Iterable<readonly Value[]>> {
  // What each of them would say is said once.
  if (!isAskedOfAll(command)) return (await fellows.rows(command.name))[0] ?? []
  const commands = partsOf(command.name).flatMap((name) => COMMANDS.filter((one) => one.name === name))
  const asked = commands.map(async (one) => ({ command: one, lists: await fellows.rows(one.name) }))
  return mergeAll(await Promise.all(asked))
}

/** Runs it in all processes. Resolves when all have done it. @throws ConsoleError */
export async function actInAll(command: Command, operator: Operator, argument: string): Promise<void> {
  const { fellows } = operator.source
  if (fellows === null || !isDoneByAll(command)) {
    await command.act?.(operator, argument)
    return
  }
  const { done, abandon } = fellows.act(command.name, argument)
  let isOver = false
  const over = done.finally(() => {
    isOver = true
  })
  // It is waited for below, if nobody gives up before.
  over.catch(() => {})
  try {
    await operator.wait(() => isOver)
  } catch (error) {
    abandon()
    throw error
  }
  await over
}
