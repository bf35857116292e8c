// OpenTelemetry's own packages, loaded only here and only where traces are wanted. It owns the exporter and
// its connections to the collector.
import type { TracingConfig } from '../config/types.ts'
import { parseHeaders } from '../util/header-list.ts'
import type { Span } from './spans.ts'

const EXPORTER = '@opentelemetry/exporter-trace-otlp-proto'
const RESOURCES = '@opentelemetry/resources'
/** Where collectors take traces, where the URL has no path. */
const USUAL_PATH = '/v1/traces'
/** A collector that takes longer has not taken them. */
const TIMEOUT_MS = 5000

/** What of the exporter is used. */
export interface Exporter {
  export(spans: readonly Span[], done: (result: { code: number; error?: Error }) => void): void
  shutdown(): Promise<void>
}

interface Packages {
  OTLPTraceExporter: new (config: object) => Exporter
  resourceFromAttributes(attributes: object): { merge(other: object): object }
  detectResources(config: object): { merge(other: object): object; waitForAsyncAttributes?(): Promise<void> }
  envDetector: object
}

/** What is needed to send spans. */
export interface Sending {
  readonly exporter: Exporter
  readonly resource: object
}

/** @throws one clear sentence when the packages are not there */
export async function openExporter(config: TracingConfig, about: object): Promise<Sending> {
  const packages = await load()
  const url = new URL(config.endpoint)
  if (url.pathname === '/') url.pathname = USUAL_PATH
  const headers = Object.fromEntries(parseHeaders(config.headers) ?? [])
  const exporter = new packages.OTLPTraceExporter({
    url: url.href,
    headers,
    timeoutMillis: TIMEOUT_MS,
    concurrencyLimit: 1,
  })
  const said = packages.detectResources({ detectors: [packages.envDetector] })
  const own = packages.resourceFromAttributes({ ...about, 'service.name': config.serviceName })
  return { exporter, resource: said.merge(own) }
}

async function load(): Promise<Packages> {
  try {
    const [exporter, resources] = (await Promise.all([import(EXPORTER), import(RESOURCES)])) as [
      object,
      object,
    ]
    return { ...exporter, ...resources } as Packages
  } catch (error) {
    const isMissing = (error as NodeJS.ErrnoException).code === 'ERR_MODULE_NOT_FOUND'
    const why = isMissing
      ? `are not installed: npm install ${EXPORTER} ${RESOURCES}`
      : (error as Error).message
    throw new Error(`tracing.endpoint is set, but the packages of OpenTelemetry ${why}`)
  }
}
