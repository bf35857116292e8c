// Makes spans, as OpenTelemetry's exporter takes them, of exchanges that have ended. It says what is told
// of an exchange: no value of a client, no password. It keeps nothing and sends nothing.
import type { ExchangeTrace } from '../session/exchange-trace.ts'
import type { Shape } from '../sql/shapes.ts'

/** As in OpenTelemetry. */
const Kind = { Internal: 0, Server: 1, Client: 2 } as const
const STATUS_UNSET = 0
const STATUS_ERROR = 2
const SAMPLED = 1
/** What stands for texts that are not kept. */
const NO_LABEL = '<'

type Time = [seconds: number, nanoseconds: number]
type Attributes = Record<string, string | number | boolean>

interface SpanContext {
  readonly traceId: string
  readonly spanId: string
  readonly traceFlags: number
  readonly isRemote?: boolean
}

/** The part of OpenTelemetry's ReadableSpan that its exporter reads. */
export interface Span {
  readonly name: string
  readonly kind: number
  spanContext(): SpanContext
  readonly parentSpanContext?: SpanContext
  readonly startTime: Time
  readonly endTime: Time
  readonly duration: Time
  readonly ended: true
  readonly status: { readonly code: number }
  readonly attributes: Attributes
  readonly events: readonly never[]
  readonly links: readonly never[]
  readonly droppedAttributesCount: 0
  readonly droppedEventsCount: 0
  readonly droppedLinksCount: 0
  readonly resource: object
  readonly instrumentationScope: object
}

/** What all spans of a process have in common. */
export interface SpanMaking {
  readonly resource: object
  readonly scope: { readonly name: string; readonly version: string }
  /** As many random hexadecimal digits. */
  readonly randomId: (digits: 16 | 32) => string
}

interface Part {
  readonly name: string
  readonly kind: number
  readonly from: number
  readonly to: number
  readonly attributes: Attributes
}

const NONE: readonly never[] = []
const NOTHING: Attributes = {}
/** Hosts are few. */
const PLACES_MAX = 1000

export class SpanMaker {
  readonly #with: SpanMaking
  /** What people are shown of a statement, of those that came before. */
  readonly #labels = new WeakMap<Shape, string>()
  /** Where servers are, in the words of the configuration. */
  readonly #places = new Map<string, Attributes>()

  constructor(making: SpanMaking) {
    this.#with = making
  }

  /**
   * The spans of one exchange: all of it, and its parts in order.
   * @param zero when the clock of its times began, in ms since 1970
   */
  spansOf(trace: ExchangeTrace, zero: number): Span[] {
    const { randomId } = this.#with
    const { parent } = trace
    const traceId = parent?.traceId ?? randomId(32)
    const context = { traceId, spanId: randomId(16), traceFlags: SAMPLED }
    const remote = parent === null ? undefined : remoteOf(parent)
    const isFailed = trace.code !== '' || trace.broken !== ''
    const whole = { name: 'exchange', kind: Kind.Server, from: trace.beganAt, to: trace.endedAt }
    const attributes = this.#attributesOf(trace)
    const root = this.#span({ ...whole, attributes }, { context, parent: remote, zero, isFailed })
    const parts = partsOf(trace, this.#placeOf(trace.client.where())).map((part) => {
      const own = { traceId, spanId: randomId(16), traceFlags: SAMPLED }
      return this.#span(part, { context: own, parent: context, zero, isFailed: false })
    })
    return [root, ...parts]
  }

  #span(
    { name, kind, from, to, attributes }: Part,
    how: { context: SpanContext; parent: SpanContext | undefined; zero: number; isFailed: boolean },
  ): Span {
    const { context, parent, zero, isFailed } = how
    const { resource, scope } = this.#with
    return {
      name,
      kind,
      spanContext: () => context,
      ...(parent === undefined ? {} : { parentSpanContext: parent }),
      startTime: timeOf(zero + from),
      endTime: timeOf(zero + Math.max(from, to)),
      duration: timeOf(Math.max(0, to - from)),
      ended: true,
      status: { code: isFailed ? STATUS_ERROR : STATUS_UNSET },
      attributes,
      events: NONE,
      links: NONE,
      droppedAttributesCount: 0,
      droppedEventsCount: 0,
      droppedLinksCount: 0,
      resource,
      instrumentationScope: scope,
    }
  }

  /** By the semantic conventions for databases, and ours. */
  #attributesOf(trace: ExchangeTrace): Attributes {
    const { client, shape, code, broken, statements } = trace
    const attributes: Attributes = {
      'db.namespace': client.database,
      ...this.#placeOf(client.where()),
      'client.address': client.address,
      'db.response.returned_rows': trace.rows,
      'pgmux.pool': `${client.database}/${client.user}`,
      'pgmux.dispatch': trace.sentAt === 0 ? 'none' : trace.isShared ? 'shared' : 'leased',
      'pgmux.in_transaction': trace.isInTransaction,
    }
    const label = shape === null ? NO_LABEL : this.#labelOf(shape)
    if (!label.startsWith(NO_LABEL)) attributes['db.query.text'] = label
    if (statements > 1) attributes['db.operation.batch.size'] = statements
    if (trace.applicationName !== '') attributes['pgmux.application_name'] = trace.applicationName
    if (trace.serverPid !== 0) attributes['pgmux.server.pid'] = trace.serverPid
    if (trace.isAgain) attributes['pgmux.sent_again'] = true
    if (code !== '') attributes['db.response.status_code'] = code
    if (code !== '' || broken !== '') attributes['error.type'] = code || broken
    if (broken !== '') attributes['pgmux.broken'] = broken
    return attributes
  }

  /** Which Postgres it is. */
  #placeOf(where: string): Attributes {
    const known = this.#places.get(where)
    if (known !== undefined) return known
    if (this.#places.size >= PLACES_MAX) this.#places.clear()
    const place = { 'db.system.name': 'postgresql', ...serverOf(where) }
    this.#places.set(where, place)
    return place
  }

  #labelOf(shape: Shape): string {
    const known = this.#labels.get(shape)
    if (known !== undefined) return known
    // A comment at an end of it is a blank there.
    const label = shape.label.trim()
    this.#labels.set(shape, label)
    return label
  }
}

/** Its waits and its work, one behind the other. */
function partsOf(
  { beganAt, grantedAt, sentAt, broughtAt, endedAt }: ExchangeTrace,
  place: Attributes,
): Part[] {
  const parts: Part[] = []
  const add = (name: string, from: number, to: number): void => {
    if (to > from) parts.push({ name, kind: Kind.Internal, from, to, attributes: NOTHING })
  }
  if (sentAt === 0) {
    add('wait', beganAt, endedAt)
    return parts
  }
  if (grantedAt > 0) add('wait', beganAt, grantedAt)
  const readyAt = grantedAt > 0 ? grantedAt : beganAt
  // What was put in front of it went out with it, unless it had to wait for that.
  if (broughtAt > sentAt) add('replay', sentAt, broughtAt)
  else add(broughtAt > 0 ? 'replay' : 'hold', readyAt, sentAt)
  const from = Math.max(sentAt, broughtAt)
  parts.push({ name: 'execution', kind: Kind.Client, from, to: endedAt, attributes: place })
  return parts
}

function remoteOf({ traceId, spanId }: { traceId: string; spanId: string }): SpanContext {
  return { traceId, spanId, traceFlags: SAMPLED, isRemote: true }
}

/** A port behind the last colon; a Unix socket has none. */
function serverOf(where: string): Attributes {
  const [, host, port] = /^(.*):(\d+)$/.exec(where) ?? []
  if (host === undefined || host.startsWith('/')) return { 'server.address': where }
  return { 'server.address': host.replace(/^\[(.*)\]$/, '$1'), 'server.port': Number(port) }
}

function timeOf(ms: number): Time {
  const seconds = Math.floor(ms / 1000)
  return [seconds, Math.round((ms - seconds * 1000) * 1e6)]
}
