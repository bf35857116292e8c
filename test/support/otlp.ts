// Owns: a collector of traces as OpenTelemetry's exporters know it (OTLP over HTTP in protobuf), and what
// it was sent. It reads the bytes itself, by the published field numbers. Must never use pgmux's own code.
import assert from 'node:assert/strict'
import { createServer, type IncomingHttpHeaders, type Server, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import { after } from 'node:test'
import { eventually } from './rig.ts'

export interface ReceivedSpan {
  readonly name: string
  readonly kind: number
  readonly traceId: string
  readonly spanId: string
  /** '' : it is the first of its trace. */
  readonly parentId: string
  /** Nanoseconds since 1970. */
  readonly start: bigint
  readonly end: bigint
  readonly attributes: Readonly<Record<string, string | number | boolean>>
  readonly isError: boolean
  readonly flags: number
  readonly resource: Readonly<Record<string, string | number | boolean>>
}

/** An exchange: its span with those of its parts, by name. */
export interface ReceivedExchange extends ReceivedSpan {
  readonly parts: Readonly<Record<string, ReceivedSpan>>
}

type Field = { number: number; value: bigint; bytes: Buffer }
type Values = Record<string, string | number | boolean>

/** The fields of a message, in order. */
function fieldsOf(bytes: Buffer): Field[] {
  const fields: Field[] = []
  let at = 0
  const varint = (): bigint => {
    let value = 0n
    for (let shift = 0n; ; shift += 7n) {
      const byte = bytes[at++]
      assert.ok(byte !== undefined, 'half a number')
      value |= BigInt(byte & 0x7f) << shift
      if (byte < 0x80) return value
    }
  }
  while (at < bytes.length) {
    const tag = Number(varint())
    const field: Field = { number: tag >> 3, value: 0n, bytes: Buffer.alloc(0) }
    const length = { 1: 8, 5: 4 }[tag & 7]
    if ((tag & 7) === 0) field.value = varint()
    else {
      const size = length ?? Number(varint())
      field.bytes = bytes.subarray(at, at + size)
      assert.equal(field.bytes.length, size, 'half a field')
      if (length === 8) field.value = field.bytes.readBigUInt64LE()
      if (length === 4) field.value = BigInt(field.bytes.readUInt32LE())
      at += size
    }
    fields.push(field)
  }
  return fields
}

const all = (fields: Field[], number: number): Field[] => fields.filter((field) => field.number === number)
const one = (fields: Field[], number: number): Field =>
  all(fields, number).at(-1) ?? { number, value: 0n, bytes: Buffer.alloc(0) }

function valuesOf(fields: Field[], number: number): Values {
  const values: Values = {}
  for (const { bytes } of all(fields, number)) {
    const pair = fieldsOf(bytes)
    const [value] = fieldsOf(one(pair, 2).bytes)
    assert.ok(value !== undefined)
    const key = one(pair, 1).bytes.toString()
    if (value.number === 1) values[key] = value.bytes.toString()
    else if (value.number === 2) values[key] = value.value === 1n
    else if (value.number === 3) values[key] = Number(BigInt.asIntN(64, value.value))
    else assert.fail(`a value of kind ${value.number}`)
  }
  return values
}

function spanOf(bytes: Buffer, resource: Values): ReceivedSpan {
  const fields = fieldsOf(bytes)
  return {
    name: one(fields, 5).bytes.toString(),
    kind: Number(one(fields, 6).value),
    traceId: one(fields, 1).bytes.toString('hex'),
    spanId: one(fields, 2).bytes.toString('hex'),
    parentId: one(fields, 4).bytes.toString('hex'),
    start: one(fields, 7).value,
    end: one(fields, 8).value,
    attributes: valuesOf(fields, 9),
    isError: one(fieldsOf(one(fields, 15).bytes), 3).value === 2n,
    flags: Number(one(fields, 16).value),
    resource,
  }
}

function spansOf(body: Buffer): ReceivedSpan[] {
  return all(fieldsOf(body), 1).flatMap(({ bytes }) => {
    const ofResource = fieldsOf(bytes)
    const resource = valuesOf(fieldsOf(one(ofResource, 1).bytes), 1)
    return all(ofResource, 2).flatMap((scope) =>
      all(fieldsOf(scope.bytes), 2).map((span) => spanOf(span.bytes, resource)),
    )
  })
}

export class Collector {
  readonly spans: ReceivedSpan[] = []
  readonly requests: { url: string; headers: IncomingHttpHeaders; body: Buffer }[] = []
  /** What it answers; 0: nothing, until `release`. */
  status = 200
  readonly #server: Server
  readonly #hanging: ServerResponse[] = []

  private constructor(server: Server) {
    this.#server = server
  }

  /** Closed with the file, suite or test. */
  static async start(): Promise<Collector> {
    const server = createServer()
    const collector = new Collector(server)
    server.on('request', (request, response) => {
      const chunks: Buffer[] = []
      request.on('data', (chunk: Buffer) => chunks.push(chunk))
      request.on('end', () => {
        const body = Buffer.concat(chunks)
        collector.requests.push({ url: request.url ?? '', headers: request.headers, body })
        if (collector.status === 0) collector.#hanging.push(response)
        else {
          if (collector.status === 200) collector.spans.push(...spansOf(body))
          response.writeHead(collector.status, { 'content-type': 'application/x-protobuf' }).end()
        }
      })
    })
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
    after(() => collector.stop())
    return collector
  }

  get url(): string {
    return `http://127.0.0.1:${(this.#server.address() as AddressInfo).port}`
  }

  stop(): void {
    this.#server.closeAllConnections()
    this.#server.close()
  }

  /** All exchanges that have come. */
  exchanges(): ReceivedExchange[] {
    return this.spans
      .filter(({ name }) => name === 'exchange')
      .map((span) => {
        const parts = this.spans.filter(({ parentId }) => parentId === span.spanId)
        return { ...span, parts: Object.fromEntries(parts.map((part) => [part.name, part])) }
      })
  }

  /** Waits until exchanges like this have come, and gives them. */
  find(isIt: (exchange: ReceivedExchange) => boolean, count = 1): Promise<ReceivedExchange[]> {
    return eventually(() => {
      const found = this.exchanges().filter(isIt)
      assert.ok(found.length >= count, `${found.length} of ${count}`)
      return found
    }, 15_000)
  }

  /** Those that belong to this trace. */
  ofTrace(traceId: string, count = 1): Promise<ReceivedExchange[]> {
    return this.find((exchange) => exchange.traceId === traceId, count)
  }

  forget(): void {
    this.spans.length = this.requests.length = 0
  }
}
