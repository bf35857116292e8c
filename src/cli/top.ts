// `pgmux top`: what a running pgmux does, looked at again and again in a terminal until q. It owns the
// terminal while it runs, and gives it back as it was. Where there is no terminal it prints once.
import type { Arguments } from './arguments.ts'
import { ConsoleClient, consoleUrl, type Row } from './console-client.ts'
import { pairs } from './status.ts'
import { linesOf, pressed, type Sample, type Screen, screenOf, VIEWS } from './top-view.ts'

const PERIOD_MS = 1000
/** Another screen without a cursor, and back. */
const ENTER = '\u001b[?1049h\u001b[?25l'
const LEAVE = '\u001b[?25h\u001b[?1049l'
const HOME = '\u001b[H'
const TO_END_OF_LINE = '\u001b[K'
const TO_END_OF_SCREEN = '\u001b[J'

/** @returns the exit code */
export async function top(given: Arguments): Promise<number> {
  const client = await ConsoleClient.connect(consoleUrl(given.target, given.flags, process.env), process.env)
  const [version] = await client.ask('SHOW VERSION')
  const { stdin, stdout } = process
  const screen = screenOf(VIEWS[0])
  if (stdin.isTTY === true && stdout.isTTY === true) await live(client, String(version?.version ?? ''))
  else {
    const sample = await read(client, screen, String(version?.version ?? ''))
    stdout.write(`${linesOf(screen, sample, null).join('\n')}\n`)
  }
  client.end()
  return 0
}

async function read(client: ConsoleClient, { view }: Screen, version: string): Promise<Sample> {
  const totals = pairs(await client.ask('SHOW TOTALS'), 'name', 'value')
  const lists = pairs(await client.ask('SHOW LISTS'), 'list', 'items')
  const waits = await client.ask('SHOW WAITS')
  const rows: Row[] = await client.ask(view.command)
  return { at: performance.now(), version, totals, lists, waits, rows }
}

/** Until q. @throws when the console is lost; the terminal is as it was before */
async function live(client: ConsoleClient, version: string): Promise<void> {
  const { stdin, stdout } = process
  const keys = new Keys()
  stdin.setRawMode(true)
  stdin.resume()
  stdin.on('data', keys.onData)
  stdout.on('resize', keys.onWake)
  stdout.write(ENTER)
  try {
    let screen = screenOf(VIEWS[0])
    let before: Sample | null = null
    while (!screen.isOver) {
      const sample = await read(client, screen, version)
      draw(linesOf(screen, sample, before))
      before = sample
      await keys.wait(PERIOD_MS)
      for (const key of keys.take()) screen = pressed(screen, key)
    }
  } finally {
    stdout.write(LEAVE)
    stdin.off('data', keys.onData)
    stdout.off('resize', keys.onWake)
    stdin.setRawMode(false)
    stdin.pause()
  }
}

/** As much as there is room for; every line is written over the one before, so that nothing flickers. */
function draw(lines: readonly string[]): void {
  const { columns = 80, rows = 24 } = process.stdout
  const shown = lines.slice(0, rows - 1).map((line) => `${line.slice(0, columns)}${TO_END_OF_LINE}`)
  process.stdout.write(`${HOME}${shown.join('\r\n')}${TO_END_OF_SCREEN}`)
}

/** Keys that were pressed since somebody looked. */
class Keys {
  #pressed: string[] = []
  #wake: (() => void) | null = null

  readonly onData = (chunk: Buffer): void => {
    const text = chunk.toString('latin1')
    // An arrow comes as one piece of several characters.
    if (text.startsWith('\u001b')) this.#pressed.push(text)
    else this.#pressed.push(...text)
    this.onWake()
  }

  readonly onWake = (): void => {
    this.#wake?.()
  }

  take(): string[] {
    const keys = this.#pressed
    this.#pressed = []
    return keys
  }

  /** Resolves when a key is pressed, the terminal has another size, or the time is over. */
  wait(ms: number): Promise<void> {
    if (this.#pressed.length > 0) return Promise.resolve()
    return new Promise((resolve) => {
      const timer = setTimeout(done, ms)
      const wake = (): void => done()
      this.#wake = wake
      function done(): void {
        clearTimeout(timer)
        resolve()
      }
    })
  }
}
