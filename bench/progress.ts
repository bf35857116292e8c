// How far a bench has come and how long it will take. Pure: the clock is given.

/** s that a run takes beyond its length: starting the load, logging in, ending. */
const OVERHEAD = 0.4
/** s of an uncounted run of each peer and scenario: servers log in, code gets compiled, tables are read. */
export const WARM_UP = 1
/** s of the scenarios whose length does not follow `--seconds`. */
const LOGIN_RUN = 3
/** s of one phase of auth-storm, of which a run has two. */
export const STORM_PHASE = 3
/** s of one run of web-storm, half of them with wrong passwords. */
export const STORM_SECONDS = 10
/** s until everything has started and the tables are filled; more for the large ones of TPC-B. */
const START = 10
/** s in which the poolers of the logins and of the storm start and are warmed up. */
const LOGIN_START = 4
const START_TPCB = 10
/** s of a run with idle clients: two silences, and up to 10,000 that come twice. */
const IDLE_RUN = 12

/** What is to be measured, in numbers. */
export interface Plan {
  readonly seconds: number
  readonly rounds: number
  /** Pairs of a load and a peer that can run it. */
  readonly cells: number
  /** s that logins of many clients take in one run of each of them, together. */
  readonly loginSeconds: number
  readonly hasTpcb: boolean
  /** Peers in one round of these; 0: not measured. */
  readonly loginRuns: number
  readonly stormRuns: number
  readonly idleRuns: number
  /** Rows of the scenarios about WebSocket and HTTP, and of the one about sessions. */
  readonly webRows: number
  readonly sessionRows: number
  /** 1: web-storm is measured. */
  readonly webStorms: number
  /** Runs of the scenario about the dashboard, and s of the logins of one. */
  readonly dashboard: { readonly runs: number; readonly loginSeconds: number }
}

/** @returns s of one counted run of a load */
export function runLength(seconds: number): number {
  return seconds + OVERHEAD
}

/** @returns s of one run of logins and of a storm */
export function fixedLength(scenario: 'logins' | 'auth-storm' | 'web-storm' | 'idle'): number {
  if (scenario === 'idle') return IDLE_RUN
  if (scenario === 'logins') return LOGIN_RUN
  return scenario === 'web-storm' ? STORM_SECONDS + 2 : 2 * (STORM_PHASE + OVERHEAD) + 1
}

/** @returns s until the first run and s of all runs, and the number of counted runs */
export function planned(plan: Plan): { start: number; seconds: number; runs: number } {
  const { seconds, rounds, cells, hasTpcb, loginRuns, stormRuns, webRows, sessionRows, webStorms, idleRuns } =
    plan
  const start = START + (hasTpcb ? START_TPCB : 0)
  const loads =
    (cells + webRows + sessionRows) * (runLength(WARM_UP) + rounds * runLength(seconds)) +
    (rounds + 1) * plan.loginSeconds
  const own =
    (loginRuns > 0 ? 2 * LOGIN_START : 0) +
    (stormRuns > 0 ? LOGIN_START : 0) +
    webStorms * (LOGIN_START + fixedLength('web-storm')) +
    idleRuns * fixedLength('idle')
  const { dashboard } = plan
  const dashboards = dashboard.runs * (runLength(seconds) + dashboard.loginSeconds)
  const logins = rounds * loginRuns * fixedLength('logins')
  const storms = rounds * (stormRuns * fixedLength('auth-storm') + webStorms * fixedLength('web-storm'))
  return {
    start,
    seconds: loads + own + logins + storms + dashboards,
    runs:
      rounds * (cells + loginRuns + stormRuns + webRows + sessionRows + webStorms) +
      idleRuns +
      dashboard.runs,
  }
}

/** @returns as in `6 min 10 s` */
export function inMinutes(seconds: number): string {
  const whole = Math.max(0, Math.round(seconds))
  const minutes = Math.floor(whole / 60)
  return minutes === 0 ? `${whole} s` : `${minutes} min ${whole % 60} s`
}

/** Counts runs; what is left is what was planned, stretched by how wrong the plan was so far. */
export class Progress {
  readonly #runs: number
  readonly #seconds: number
  readonly #now: () => number
  readonly #from: number
  #done = 0
  #spent = 0

  /** @param now ms */
  constructor(total: { seconds: number; runs: number }, now: () => number) {
    this.#runs = total.runs
    this.#seconds = total.seconds
    this.#now = now
    this.#from = now()
  }

  /** Something that was planned with so many seconds is over; an uncounted run is none of the runs. */
  spend(seconds: number, isRun: boolean): void {
    this.#spent += seconds
    if (isRun) this.#done++
  }

  /** @returns as in `[3/112, 5 min 2 s left]` */
  get mark(): string {
    const elapsed = (this.#now() - this.#from) / 1000
    const stretch = this.#spent === 0 ? 1 : elapsed / this.#spent
    const left = Math.max(0, this.#seconds - this.#spent) * stretch
    return `[${this.#done}/${this.#runs}, ${inMinutes(left)} left]`
  }
}
