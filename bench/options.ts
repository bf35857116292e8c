// The arguments of `npm run bench`: their names, limits and defaults. It reads nothing but its argument.
import { parseArgs } from 'node:util'
import { GROUPS, SCENARIOS, type Scenario, USUAL } from './scenarios.ts'

export const HELP = `npm run bench -- [options]    direct, pgmux, PgBouncer and others in alternation

  --scenario A,B    what to measure; may be given several times. What is usual:
                    ${USUAL.join(', ')}
                    The others, and names for several:
                    ${SCENARIOS.slice(7)
                      .filter(
                        (name) => !(USUAL as readonly string[]).includes(name) && !/\d|mixed/.test(name),
                      )
                      .join(', ')}, ${Object.keys(GROUPS).join(', ')}
  --only=A,B        the same
  --seconds N       length of a run (3)
  --rounds N        runs of each peer and scenario (4)
  --clients N       connections of the load (64); a COPY has one
  --pool N          server connections of a pooler (10)
  --logins N        logins within one second in the scenario logins (5000)
  --leased          pgmux with pool.shared off beside the other one, in all loads; --no-leased in none
                    (in simple, extended, prepared and mixed)
  --relay           a bare relay of bytes beside the others, in all loads that are near; --no-relay in none
                    (in simple, extended and prepared)
  --generator G     auto, pgbench or own (auto: pgbench where the machine has it)
  --peer NAME=HOST:PORT[,PID]
                    one more pooler that runs already; its CPU is shown only with its process number.
                    May be given several times
  --postgres-port N port of the bench's Postgres, so that a peer can be told (a free one)
  --password TEXT   password of its user bench (a random one)
  --compare FILE    a .json file of an older bench: ratios of this one to it
  --profile         one more run of pgmux under the CPU profiler, and its top functions
  --no-assert       exit code 0 whatever the figures are
  --no-save         write nothing to bench/results
  --help
`

/** pgbench, a generator of our own, or whichever the machine has. */
export type GeneratorChoice = 'auto' | 'pgbench' | 'own'

/** A pooler that somebody else has started. */
export interface OtherPeer {
  readonly name: string
  readonly host: string
  readonly port: number
  /** 0: not told. */
  readonly pid: number
}

export interface BenchOptions {
  readonly seconds: number
  readonly rounds: number
  readonly clients: number
  readonly pool: number
  readonly logins: number
  readonly scenarios: readonly Scenario[]
  readonly generator: GeneratorChoice
  readonly others: readonly OtherPeer[]
  /** Whether these take part; null: where they do by default. */
  readonly leased: boolean | null
  readonly relay: boolean | null
  /** 0: a free one. */
  readonly postgresPort: number
  /** '': a random one. */
  readonly password: string
  /** '': with nothing. */
  readonly compare: string
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
  seconds: { type: 'string', default: '3' },
  rounds: { type: 'string', default: '4' },
  clients: { type: 'string', default: '64' },
  pool: { type: 'string', default: '10' },
  logins: { type: 'string', default: '5000' },
  scenario: { type: 'string', multiple: true },
  only: { type: 'string', multiple: true },
  generator: { type: 'string', default: 'auto' },
  peer: { type: 'string', multiple: true },
  leased: { type: 'boolean', default: false },
  'no-leased': { type: 'boolean', default: false },
  relay: { type: 'boolean', default: false },
  'no-relay': { type: 'boolean', default: false },
  'postgres-port': { type: 'string' },
  password: { type: 'string', default: '' },
  compare: { type: 'string', default: '' },
  profile: { type: 'boolean', default: false },
  'no-assert': { type: 'boolean', default: false },
  'no-save': { type: 'boolean', default: false },
  help: { type: 'boolean', short: 'h', default: false },
} as const

/** Names that the bench itself gives to peers. */
const TAKEN = ['direct', 'pgmux', 'pgmux-leased', 'pgbouncer', 'relay']
const PASSWORD = /^[\w.~-]{8,100}$/

/** @throws BenchError that names the argument */
export function parseOptions(args: readonly string[]): BenchOptions {
  const values = parsed(args)
  const port = values['postgres-port']
  if (values.password !== '' && !PASSWORD.test(values.password)) {
    throw new BenchError('--password expects 8 to 100 letters, digits and . _ ~ -')
  }
  return {
    seconds: whole('seconds', values.seconds, 3600),
    rounds: whole('rounds', values.rounds, 1000),
    clients: whole('clients', values.clients, 900),
    pool: whole('pool', values.pool, 900),
    logins: whole('logins', values.logins, 100_000),
    scenarios: scenariosOf(values.scenario ?? [], values.only ?? []),
    generator: generatorOf(values.generator),
    others: othersOf(values.peer ?? []),
    leased: wish(values.leased, values['no-leased']),
    relay: wish(values.relay, values['no-relay']),
    postgresPort: port === undefined ? 0 : whole('postgres-port', port, 65_535),
    password: values.password,
    compare: values.compare,
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

function wish(yes: boolean, no: boolean): boolean | null {
  return yes || no ? yes : null
}

function scenariosOf(...lists: readonly (readonly string[])[]): Scenario[] {
  const given = lists.flat()
  if (given.length === 0) return [...USUAL]
  const names = given.flatMap((text) => text.split(',')).flatMap((name) => GROUPS[name] ?? [name])
  const strange = names.find((name) => !(SCENARIOS as readonly string[]).includes(name))
  if (strange !== undefined) {
    const known = [...SCENARIOS, ...Object.keys(GROUPS)].join(', ')
    throw new BenchError(`--scenario and --only know ${known}, with commas between them, not "${strange}"`)
  }
  return SCENARIOS.filter((name) => names.includes(name))
}

function generatorOf(text: string): GeneratorChoice {
  if (text === 'auto' || text === 'pgbench' || text === 'own') return text
  throw new BenchError(`--generator expects auto, pgbench or own, not "${text}"`)
}

function othersOf(texts: readonly string[]): OtherPeer[] {
  const others = texts.map(otherOf)
  const names = [...TAKEN, ...others.map((other) => other.name)]
  const twice = names.find((name, i) => names.indexOf(name) !== i)
  if (twice !== undefined) throw new BenchError(`--peer: the name "${twice}" is taken, choose another one`)
  return others
}

function otherOf(text: string): OtherPeer {
  const match = /^([\w.-]{1,20})=(\[[\da-fA-F:]+\]|[\w.-]+):(\d{1,5})(?:,(\d{1,9}))?$/.exec(text)
  const port = Number(match?.[3] ?? 0)
  if (match === null || port < 1 || port > 65_535) {
    throw new BenchError(`--peer expects NAME=HOST:PORT or NAME=HOST:PORT,PID, not "${text}"`)
  }
  const host = match[2]!.replace(/^\[|\]$/g, '')
  return { name: match[1]!, host, port, pid: Number(match[4] ?? 0) }
}
