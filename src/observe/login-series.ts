// The metrics of how clients show who they are, and of TLS, made from the counters when somebody scrapes. It
// owns the names; it counts nothing.
import { type Counters, type LabelledCounts, TIME_BOUNDS_MS } from './counters.ts'
import type { Sample, Series } from './exposition.ts'
import { addHistogram } from './histogram-samples.ts'

const HASH_TIME = 'pgmux_password_hash_seconds'

/** @param total of the whole process */
export function loginSeries(total: () => Counters): Series[] {
  return [
    {
      name: 'pgmux_logins_total',
      help: 'Clients that had to show who they are, by method and result',
      type: 'counter',
      values: () => samplesOf(total().logins, 'method', 'result'),
    },
    {
      name: 'pgmux_tls_handshakes_total',
      help: 'TLS handshakes of the Postgres protocol, by side and result',
      type: 'counter',
      values: () => samplesOf(total().tlsHandshakes, 'side', 'result'),
    },
    {
      name: HASH_TIME,
      help: 'How long passwords took to be hashed, the wait for their turn included',
      type: 'histogram',
      values: () => {
        const samples: Sample[] = []
        const { passwordTimes: times } = total()
        addHistogram(samples, HASH_TIME, { times, labels: {}, bounds: TIME_BOUNDS_MS })
        return samples
      },
    },
  ]
}

function samplesOf(counts: Pick<LabelledCounts, 'entries'>, first: string, second: string): Sample[] {
  return Array.from(counts.entries(), ({ labels, count }) => ({
    labels: { [first]: labels[0], [second]: labels[1] },
    value: count,
  }))
}
