// Owns what `npm test` prints: Node's own report, and in front of its closing lines one line for each test
// that did not run, with the reason. Nothing is skipped silently.
// Must never change what counts as passed.
import { Readable } from 'node:stream'
import { spec, type TestEvent } from 'node:test/reporters'

export default async function* report(events: AsyncIterable<TestEvent>): AsyncGenerator<string> {
  for await (const text of Readable.from(withList(events)).compose(new spec())) yield String(text)
}

async function* withList(events: AsyncIterable<TestEvent>): AsyncGenerator<TestEvent> {
  const list: string[] = []
  for await (const event of events) {
    if (event.type === 'test:pass' && event.data.skip !== undefined) {
      const reason = typeof event.data.skip === 'string' ? event.data.skip : 'no reason given'
      list.push(`not run: ${event.data.name}: ${reason}`)
    }
    // The first of the closing lines.
    if (event.type === 'test:diagnostic' && /^tests \d+$/.test(event.data.message)) {
      for (const message of list) yield { ...event, data: { ...event.data, message } }
    }
    yield event
  }
}
