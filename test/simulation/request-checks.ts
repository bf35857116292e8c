// Owns: what must hold for the requests of a world at its end: each is told what it would be told alone, or
// why not; its writes are there together or not at all; it has left nothing. Must never change the world.

import { EXPLAINED, Violation } from './pooler-checks.ts'
import type { PoolerWorld } from './pooler-world.ts'
import type { RequestScript } from './request-script.ts'
import type { SimRequest, Told } from './sim-request.ts'

/** @throws Violation */
export function checkCrowd(world: PoolerWorld): void {
  const { crowd, entry } = world
  if (crowd.admitted.size > 0)
    throw new Violation(`${crowd.admitted.size} requests have not given back their place`)
  if (entry.clients !== 0) throw new Violation(`${entry.clients} clients are counted where nobody is`)
  for (const request of crowd.requests) checkRequest(world, request)
}

function checkRequest(world: PoolerWorld, request: SimRequest): void {
  const { script, told } = request
  const where = `request ${script.id} (${script.steps.map(({ query }) => query).join('; ')})`
  if (request.problem !== '') throw new Violation(`${where}: ${request.problem}`)
  const written = script.inserts.filter((nonce) => isCommitted(world, nonce)).length
  if (written !== 0 && written !== script.inserts.length)
    throw new Violation(`${where}: ${written} of ${script.inserts.length} rows are there`)
  if (request.hasGone && told === null) return
  const mayFail = isDisturbed(world)
  if (told === null) {
    if (!mayFail && script.fails === '') throw new Violation(`${where} was cut off`)
    return
  }
  if (request.status === 200) checkRows(where, script, told)
  else checkProblem(world, where, [script, told])
  const isDone = request.status === 200
  if (isDone && written < script.inserts.length) throw new Violation(`${where}: what it wrote is not there`)
  if (told.code === script.fails && written > 0) throw new Violation(`${where} failed, and is there`)
}

function isDisturbed({ faults, crowd }: PoolerWorld): boolean {
  return faults.size > 0 || crowd.limits.maxResponse > 0 || crowd.limits.queryTimeoutMs > 0
}

function isCommitted(world: PoolerWorld, nonce: string): boolean {
  return world.cluster.ledger.some(({ sql, fate }) => fate === 'committed' && sql.includes(`'${nonce}'`))
}

function checkRows(where: string, script: RequestScript, told: Told): void {
  if (script.fails !== '') throw new Violation(`${where}: told of no error`)
  const results = script.isBatch ? (told.results ?? []) : [{ rows: told.rows ?? [] }]
  if (results.length !== script.steps.length) throw new Violation(`${where}: ${results.length} results`)
  for (const [index, { rows }] of script.steps.entries()) {
    const [seen, wanted] = [JSON.stringify(results[index]!.rows), JSON.stringify(rows)]
    if (rows !== null && seen !== wanted) throw new Violation(`${where} sees ${seen}, not ${wanted}`)
  }
}

function checkProblem(world: PoolerWorld, where: string, [script, told]: [RequestScript, Told]): void {
  const { code = '', message } = told
  if (code === script.fails) return
  const { maxResponse, queryTimeoutMs } = world.crowd.limits
  if (code === '54000' && maxResponse > 0) return
  if (code === '57014' && (queryTimeoutMs > 0 || world.has('choke'))) return
  const reasons = code === '57014' ? [] : (EXPLAINED[code] ?? [])
  if (!reasons.some((reason) => world.has(reason))) throw new Violation(`${where}: ${code} ${message}`)
}
