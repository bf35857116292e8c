// What all charts have in common: the colour of each peer, how numbers and words get into SVG. Pure.
import type { PeerName } from './figures.ts'

/** A peer keeps its colour in all charts; others take what is left in their order. */
const COLOURS: Readonly<Record<string, string>> = {
  direct: 'direct',
  pgmux: 'ours',
  'pgmux-leased': 'leased',
  pgbouncer: 'theirs',
  relay: 'floor',
}
const OTHER_COLOURS = ['other1', 'other2', 'other3']

/** One look for bright and one for dark surroundings; contrast of the words is at least 4.5 in both. */
export const STYLE = `
.ground{fill:#ffffff}.ink{fill:#1f2328}.faint{fill:#59636e}.line{stroke:#d1d9e0}.whisker{stroke:#1f2328}
.direct{fill:#9aa4af}.ours{fill:#0969da}.theirs{fill:#d4761c}.leased{fill:#6cb0f5}.floor{fill:#c2c9d1}
.other1{fill:#7d4fc4}.other2{fill:#1a7f64}.other3{fill:#b3407a}
@media (prefers-color-scheme: dark){
.ground{fill:#0d1117}.ink{fill:#f0f6fc}.faint{fill:#9198a1}.line{stroke:#3d444d}.whisker{stroke:#f0f6fc}
.direct{fill:#6e7681}.ours{fill:#4493f8}.theirs{fill:#e08a3c}.leased{fill:#2a5a99}.floor{fill:#4b535c}
.other1{fill:#ab7df8}.other2{fill:#3fb68f}.other3{fill:#e275ad}}
text{font:12px system-ui,-apple-system,"Segoe UI",sans-serif}
.title{font-size:18px;font-weight:600}.scenario{font-size:13px;font-weight:600}.whisker{stroke-width:1}`

/** @returns peer -> the class that has its colour */
export function coloursOf(peers: readonly PeerName[]): Map<PeerName, string> {
  const others = peers.filter((peer) => COLOURS[peer] === undefined)
  return new Map(
    peers.map((peer) => [peer, COLOURS[peer] ?? OTHER_COLOURS[others.indexOf(peer) % OTHER_COLOURS.length]!]),
  )
}

/** @returns text as it stands in SVG and HTML */
export function escaped(text: string): string {
  return text
    .replaceAll('&', '&amp;')
    .replaceAll('<', '&lt;')
    .replaceAll('>', '&gt;')
    .replaceAll('"', '&quot;')
}

/** @returns a number to a tenth */
export function n(value: number): string {
  return String(Math.round(value * 10) / 10)
}
