// The metrics of what comes over WebSocket and HTTP, made from the counters when somebody scrapes. It owns
// the names; it counts nothing.
import type { Counters } from './counters.ts'
import type { Series } from './exposition.ts'

/** @param total of the whole process */
export function webSeries(total: () => Counters): Series[] {
  return [
    {
      name: 'pgmux_websockets_total',
      help: 'WebSockets that were opened',
      type: 'counter',
      values: () => [{ labels: {}, value: total().webSockets }],
    },
    {
      name: 'pgmux_http_requests_total',
      help: 'HTTP requests, by status of the answer',
      type: 'counter',
      values: () =>
        Array.from(total().http.answers, ([status, value]) => ({
          labels: { status: status === 0 ? 'none' : String(status) },
          value,
        })),
    },
    {
      name: 'pgmux_http_bytes_total',
      help: 'Bytes of HTTP bodies, by direction',
      type: 'counter',
      values: () => [
        { labels: { direction: 'from_clients' }, value: total().http.bytesFromClients },
        { labels: { direction: 'to_clients' }, value: total().http.bytesToClients },
      ],
    },
  ]
}
