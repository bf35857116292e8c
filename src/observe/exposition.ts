// Prometheus' text format for metrics of many values: made with nothing but string additions, since a process
// with hundreds of pools writes thousands of lines while its clients wait. Pure.

/** One value of a metric. */
export interface Sample {
  readonly labels: Record<string, string>
  value: number
}

/** A metric whose values are made when somebody scrapes. */
export interface Series {
  readonly name: string
  readonly help: string
  readonly type: 'gauge' | 'counter'
  /** What the values of several processes make together; their sum if it is absent. */
  readonly aggregator?: 'sum' | 'max'
  values(): Sample[]
}

/** A metric as it stands in the answer to a scrape, without the line break at its end. */
export function seriesText({ name, help, type, values }: Series): string {
  let text = `# HELP ${name} ${help}\n# TYPE ${name} ${type}`
  for (const { labels, value } of values()) {
    let shown = ''
    for (const label in labels) shown += `${shown === '' ? '' : ','}${label}="${escaped(labels[label])}"`
    text += shown === '' ? `\n${name} ${value}` : `\n${name}{${shown}} ${value}`
  }
  return text
}

/** Names of databases and users may be anything. */
function escaped(text: string): string {
  if (!/["\\\n]/.test(text)) return text
  return text.replaceAll('\\', '\\\\').replaceAll('"', '\\"').replaceAll('\n', '\\n')
}
