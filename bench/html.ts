// The page of one bench that stands by itself: charts as SVG in it, no script, nothing from elsewhere, bright
// or dark as the reader has it. Pure. Must never say anything that is not in the results.
import { chart } from './chart.ts'
import { coloursOf, escaped } from './chart-parts.ts'
import { type Cell, type Run, runsOf, spreadOver, total } from './figures.ts'
import { type Bar, barChart, lineChart, type Series } from './html-charts.ts'
import { conclusions, machineFacts, nameOf, type Results, tables } from './report.ts'
import { clientsOf, isBulk } from './scenarios.ts'

const STYLE = `
:root{color-scheme:light dark;--ground:#ffffff;--ink:#1f2328;--faint:#59636e;--line:#d1d9e0;--bad:#b3261e}
@media (prefers-color-scheme: dark){
:root{--ground:#0d1117;--ink:#f0f6fc;--faint:#9198a1;--line:#3d444d;--bad:#ff8a80}}
body{margin:0 auto;max-width:1090px;padding:24px;background:var(--ground);color:var(--ink);
font:15px/1.5 system-ui,-apple-system,"Segoe UI",sans-serif}
h1{font-size:24px;margin:0}h2{font-size:18px;margin:32px 0 8px}p.faint,li.faint{color:var(--faint)}
.bad{color:var(--bad);font-weight:600}figure{margin:12px 0;overflow-x:auto}
.charts{display:flex;flex-wrap:wrap;gap:16px}.scroll{overflow-x:auto}
table{border-collapse:collapse;font-size:13px;margin:8px 0}
th,td{border-bottom:1px solid var(--line);padding:4px 10px;text-align:left;white-space:nowrap}
pre{overflow-x:auto;border:1px solid var(--line);padding:8px;font-size:12px}
.end{text-anchor:end}.middle{text-anchor:middle}polyline{fill:none;stroke-width:2}
.stroke-direct{stroke:#8b949e}.stroke-ours{stroke:#0969da}.stroke-theirs{stroke:#d4761c}
.stroke-leased{stroke:#6cb0f5}.stroke-floor{stroke:#a9b1ba}
.stroke-other1{stroke:#7d4fc4}.stroke-other2{stroke:#1a7f64}.stroke-other3{stroke:#b3407a}
@media (prefers-color-scheme: dark){
.stroke-direct{stroke:#6e7681}.stroke-ours{stroke:#4493f8}.stroke-theirs{stroke:#e08a3c}
.stroke-leased{stroke:#2a5a99}.stroke-floor{stroke:#4b535c}
.stroke-other1{stroke:#ab7df8}.stroke-other2{stroke:#3fb68f}.stroke-other3{stroke:#e275ad}}`

/** @returns a whole HTML document */
export function htmlPage(results: Results, subtitle: string): string {
  const { cells, configurations, notMeasured } = results
  const charts = [...clientCharts(cells), idleChart(results)].filter(Boolean)
  const bars = [cpuChart(cells), memoryChart(cells)].filter(Boolean)
  return [
    '<!doctype html>',
    '<html lang="en"><head><meta charset="utf-8">',
    '<meta name="viewport" content="width=device-width, initial-scale=1">',
    `<title>pgmux bench, ${results.date.slice(0, 10)}</title><style>${STYLE}</style></head><body>`,
    `<h1>pgmux and its peers</h1><p class="faint">${escaped(subtitle)}</p>`,
    section('What it shows', list(conclusions(results))),
    cells.length === 0 ? '' : section('Rate, latency, CPU', `<figure>${chart(cells, subtitle)}</figure>`),
    charts.length === 0 ? '' : section('Against clients', `<div class="charts">${charts.join('\n')}</div>`),
    ...(bars.length === 0 ? [] : [section('CPU and memory', figures(bars))]),
    section('Figures', markdownAsHtml(tables(results))),
    section('Machine', list(machineFacts(results))),
    section(
      'Configuration',
      configurations
        .map(({ name, text }) => `<h3>${nameOf(name)}</h3><pre>${escaped(text)}</pre>`)
        .join('\n'),
    ),
    section('Not measured', list(notMeasured)),
    '</body></html>\n',
  ].join('\n')
}

function section(title: string, content: string): string {
  return content === '' ? '' : `<h2>${title}</h2>\n${content}`
}

function figures(charts: readonly string[]): string {
  return charts.map((each) => `<figure>${each}</figure>`).join('\n')
}

function list(lines: readonly string[]): string {
  const items = lines.map((line) => {
    const kind = line.startsWith('FAILED') ? ' class="bad"' : ''
    return `<li${kind}>${escaped(line)}</li>`
  })
  return items.length === 0 ? '' : `<ul>\n${items.join('\n')}\n</ul>`
}

function clientCharts(cells: readonly Cell[]): string[] {
  const some = cells.filter(({ scenario }) => scenario.startsWith('clients-'))
  const series = (pick: (run: Run) => number | null): Series[] => seriesOf(some, pick)
  return [
    lineChart(
      'Throughput against clients',
      'tps',
      series((run) => run.rate),
    ),
    lineChart(
      'p99 against clients',
      'ms',
      series((run) => run.latency?.p99 ?? null),
    ),
    lineChart(
      'CPU of the pooler against clients',
      'us',
      series((run) => total(run.cpu)),
    ),
  ]
}

function seriesOf(cells: readonly Cell[], pick: (run: Run) => number | null): Series[] {
  const peers = [...new Set(cells.map(({ peer }) => peer))]
  const colours = coloursOf(peers)
  return peers.map((peer) => {
    const points = cells
      .filter((cell) => cell.peer === peer)
      .flatMap((cell) => {
        const found = spreadOver(runsOf(cell), pick)
        return found === null ? [] : [{ x: clientsOf(cell.scenario, 0), y: found.median }]
      })
    return { name: nameOf(peer), colour: colours.get(peer)!, points }
  })
}

function idleChart({ idle }: Results): string {
  const peers = [...new Set(idle.map(({ peer }) => peer))]
  const colours = coloursOf(peers)
  const series = peers.map((peer): Series => {
    const points = idle.flatMap(({ peer: its, count, outcome }) =>
      its === peer && outcome.kind === 'run' && outcome.full !== null
        ? [{ x: count, y: outcome.full / 1024 }]
        : [],
    )
    return { name: nameOf(peer), colour: colours.get(peer)!, points }
  })
  return lineChart('Memory with idle clients', 'MiB', series)
}

/** Pooler, Postgres and load apart, where they are known. */
function cpuChart(cells: readonly Cell[]): string {
  const bars = cells
    .filter(({ scenario }) => !isBulk(scenario))
    .flatMap((cell): Bar[] => {
      const part = (name: string, colour: string, pick: (run: Run) => number | null) => {
        const found = spreadOver(runsOf(cell), pick)
        return found === null ? [] : [{ name, colour, value: found.median }]
      }
      const parts = [
        ...part('pooler', 'ours', (run) => total(run.cpu)),
        ...part('Postgres', 'direct', (run) => total(run.postgres)),
        ...part('load', 'floor', (run) => total(run.generator)),
      ]
      return parts.length === 0 ? [] : [{ label: labelOf(cell), parts }]
    })
  return barChart('CPU of a transaction', 'us', bars)
}

function memoryChart(cells: readonly Cell[]): string {
  const colours = coloursOf([...new Set(cells.map(({ peer }) => peer))])
  const bars = cells.flatMap((cell): Bar[] => {
    const peak = spreadOver(runsOf(cell), (run) => run.peakMemory)
    if (peak === null) return []
    const part = { name: nameOf(cell.peer), colour: colours.get(cell.peer)!, value: peak.most / 1024 }
    return [{ label: labelOf(cell), parts: [part] }]
  })
  return barChart('Most memory of the pooler during a run', 'MiB', bars)
}

function labelOf({ scenario, peer }: Cell): string {
  return `${scenario}, ${nameOf(peer)}`
}

/** The text of report.ts: paragraphs, and tables with a head and a rule. */
export function markdownAsHtml(text: string): string {
  return text
    .split('\n\n')
    .map((block) => (block.startsWith('| ') ? tableAsHtml(block) : `<p>${escaped(block)}</p>`))
    .join('\n')
}

function tableAsHtml(block: string): string {
  const rows = block
    .split('\n')
    .filter((line) => !line.startsWith('|-'))
    .map((line) =>
      line
        .slice(1, -1)
        .split('|')
        .map((cell) => escaped(cell.trim())),
    )
  const [head, ...body] = rows.map((cells, i) => {
    const name = i === 0 ? 'th' : 'td'
    return `<tr>${cells.map((cell) => `<${name}>${cell}</${name}>`).join('')}</tr>`
  })
  return `<div class="scroll"><table><thead>${head}</thead><tbody>${body.join('\n')}</tbody></table></div>`
}
