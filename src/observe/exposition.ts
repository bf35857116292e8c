// Prometheus' text format for metrics of many values: made with nothing but string additions, since a process
// with hundreds of pools writes thousands of lines while its clients wait. Pure.

/** Lines of a piece. */
const PIECE = 500

/** One value of a metric. */
export interface Sample {
  /** Where it is not the name of the metric: of a part of a histogram. */
  readonly metricName?: string
  readonly labels: Record<string, string>
  value: number
}

/** A metric whose values are made when somebody scrapes. */
export interface Series {
  readonly name: string
  readonly help: string
  readonly type: 'gauge' | 'counter' | 'histogram'
  /** What the values of several processes make together; their sum if it is absent. */
  readonly aggregator?: 'sum' | 'max'
  values(): Sample[]
}

/** A metric as it stands in the answer to a scrape, without the line break at its end. */
export function seriesText(series: Series): string {
  let text = ''
  for (const piece of seriesPieces(series)) text += piece
  return text
}

/** The same in pieces, which belong one behind the other. */
export function* seriesPieces({ name, help, type, values }: Series): Generator<string> {
  let text = `# HELP ${name} ${help}\n# TYPE ${name} ${type}`
  let left = PIECE
  for (const { metricName, labels, value } of values()) {
    const shownName = metricName ?? name
    let shown = ''
    for (const label in labels) shown += `${shown === '' ? '' : ','}${label}="${escaped(labels[label])}"`
    text += shown === '' ? `\n${shownName} ${value}` : `\n${shownName}{${shown}} ${value}`
    if (--left > 0) continue
    yield text
    text = ''
    left = PIECE
  }
  yield text
}

/** Names of databases and users may be anything. */
function escaped(text: string): string {
  if (!/["\\\n]/.test(text)) return text
  return text.replaceAll('\\', '\\\\').replaceAll('"', '\\"').replaceAll('\n', '\\n')
}
