// The arguments of `npm run bench`: their names, limits and defaults. It reads nothing but its argument.
import { parseArgs } from 'node:util'

export const SCENARIOS = ['simple', 'extended', 'prepared'] as const
/** How pgbench sends its select: its own words for --protocol. */
export type Scenario = (typeof SCENARIOS)[number]

export const HELP = `npm run bench -- [options]    select-only load: direct, pgmux, PgBouncer in alternation

  --seconds N       length of a run (5)
  --rounds N        runs of each peer and scenario (5)
  --clients N       connections of pgbench (64)
  --pool N          server connections of a pooler (10)
  --only=A,B        of ${SCENARIOS.join(', ')} (all)
  --profile         one more run of pgmux under the CPU profiler, and its top functions
  --no-assert       exit code 0 whatever the ratio to PgBouncer is
  --no-save         write nothing to bench/results
  --help
`

export interface BenchOptions {
  readonly seconds: number
  readonly rounds: number
  readonly clients: number
  readonly pool: number
  readonly scenarios: readonly Scenario[]
  readonly profile: boolean
  readonly assert: boolean
  readonly save: boolean
  readonly help: boolean
}

/** Something that is wrong with the arguments or the machine: one sentence with a way out. */
export class BenchError extends Error {
  override name = 'BenchError'
}

const OPTIONS = {
  seconds: { type: 'string', default: '5' },
  rounds: { type: 'string', default: '5' },
  clients: { type: 'string', default: '64' },
  pool: { type: 'string', default: '10' },
  only: { type: 'string', default: SCENARIOS.join(',') },
  profile: { type: 'boolean', default: false },
  'no-assert': { type: 'boolean', default: false },
  'no-save': { type: 'boolean', default: false },
  help: { type: 'boolean', short: 'h', default: false },
} as const

/** @throws BenchError that names the argument */
export function parseOptions(args: readonly string[]): BenchOptions {
  const values = parsed(args)
  return {
    seconds: whole('seconds', values.seconds, 3600),
    rounds: whole('rounds', values.rounds, 1000),
    clients: whole('clients', values.clients, 900),
    pool: whole('pool', values.pool, 900),
    scenarios: scenariosOf(values.only),
    profile: values.profile,
    assert: !values['no-assert'],
    save: !values['no-save'],
    help: values.help,
  }
}

function parsed(args: readonly string[]) {
  try {
    return parseArgs({ args: [...args], options: OPTIONS, strict: true }).values
  } catch (error) {
    throw new BenchError(
      `${(error as Error).message.split('. ')[0]}; npm run bench -- --help lists the options`,
    )
  }
}

function whole(name: string, text: string, most: number): number {
  const value = /^\d{1,6}$/.test(text) ? Number(text) : 0
  if (value < 1 || value > most) {
    throw new BenchError(`--${name} expects a whole number from 1 to ${most}, not "${text}"`)
  }
  return value
}

function scenariosOf(text: string): Scenario[] {
  const names = text.split(',')
  const strange = names.find((name) => !(SCENARIOS as readonly string[]).includes(name))
  if (strange !== undefined) {
    throw new BenchError(`--only knows ${SCENARIOS.join(', ')}, with commas between them, not "${strange}"`)
  }
  return SCENARIOS.filter((name) => names.includes(name))
}
