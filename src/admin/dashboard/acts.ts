// Commands that somebody gives at the dashboard: those of the console that a button may have. It owns those
// that are under way. Whoever goes away while one waits has given it up, as in the console.
import type { HttpResponse } from '../../net/http.ts'
import { CONTROL_COMMANDS } from '../console/control.ts'
import { type Command, ConsoleError } from '../console/types.ts'
import { Refused } from './answers.ts'
import { textOf } from './body.ts'
import type { Act, Desk } from './types.ts'

const NAMES = ['PAUSE', 'RESUME', 'RECONNECT', 'KILL', 'DISABLE', 'ENABLE', 'KILL_CLIENT', 'CANCEL', 'RELOAD']
const COMMANDS = new Map(
  CONTROL_COMMANDS.filter(({ name }) => NAMES.includes(name)).map((command) => [command.name, command]),
)
/** At once. */
const UNDER_WAY_MAX = 20

/** Who gave a command. */
export interface Giver {
  readonly user: string
  readonly address: string
}

export class Acts {
  readonly #desk: Desk
  readonly #underWay = new Set<Act>()

  constructor(desk: Desk) {
    this.#desk = desk
  }

  /** Resolves when it is done. @throws Refused */
  async run(
    { user, address }: Giver,
    body: Readonly<Record<string, unknown>>,
    response: HttpResponse,
  ): Promise<void> {
    const { command, argument } = orderIn(body)
    if (this.#underWay.size >= UNDER_WAY_MAX)
      throw new Refused(503, `${UNDER_WAY_MAX} commands are under way: wait for one of them`)
    const act = this.#desk.act(command, argument)
    const onClose = (): void => act.abandon()
    this.#underWay.add(act)
    response.once('close', onClose)
    try {
      await act.done
    } catch (thrown) {
      if (!(thrown instanceof ConsoleError)) throw thrown
      const { code, hint, message } = thrown
      throw new Refused(409, message, { fields: { code, hint } })
    } finally {
      this.#underWay.delete(act)
      response.off('close', onClose)
    }
    this.#desk.note({ user, client: address }, `dashboard: ${`${command.name} ${argument}`.trimEnd()}`)
  }

  /** The end: nobody waits any more. */
  close(): void {
    for (const act of this.#underWay) act.abandon()
  }
}

function orderIn(body: Readonly<Record<string, unknown>>): { command: Command; argument: string } {
  const name = textOf(body, 'command')
  const argument = textOf(body, 'argument')
  const command = COMMANDS.get(name)
  if (command === undefined) throw new Refused(400, `command must be one of ${NAMES.join(', ')}`)
  const { takes } = command
  if (takes === 'nothing' && argument !== '') throw new Refused(400, `${name} takes no argument`)
  if ((takes === 'database' || takes === 'id') && argument === '')
    throw new Refused(400, takes === 'id' ? `${name} needs the id of a client` : `${name} needs a database`)
  return { command, argument }
}
