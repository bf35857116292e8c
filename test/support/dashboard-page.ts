// Owns: the dashboard of a pooler in a page of Chromium, as somebody sees it who looks; and what must never
// happen there: errors, violations of the policy, requests to anywhere else. Must never reach into the page
// for what a person cannot see.
import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import { mkdtemp } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import type { Browser, BrowserContextOptions, Locator, Page } from 'playwright-core'
import { type ConsoleRig, startConsole } from './console.ts'
import type { Overrides } from './pooler.ts'
import type { TestPostgres } from './postgres.ts'

const AXE = readFileSync(fileURLToPath(import.meta.resolve('axe-core/axe.min.js')), 'utf8')
/** ms for what comes once a second, on a machine that is busy. */
const LIMIT_MS = 15_000

/** A pooler with a dashboard on a free port. */
export function startShown(postgres: TestPostgres, overrides: Overrides = {}): Promise<ConsoleRig> {
  const admin = { host: '127.0.0.1', port: 0, ...overrides.admin }
  return startConsole(postgres, { ...overrides, admin })
}

/** Port of the dashboard. */
export function dashboardPort({ test }: ConsoleRig): number {
  return test.pooler.addresses.admin?.port ?? 0
}

/** What is different from a wide light page where nothing goes wrong. */
export interface Viewing extends BrowserContextOptions {
  /** Errors in the browser's console that belong to the test. */
  readonly expects?: RegExp
}

export class Viewer {
  readonly page: Page
  readonly #folder: string
  readonly #problems: string[] = []

  private constructor(page: Page, folder: string) {
    this.page = page
    this.#folder = folder
  }

  /** Opens the dashboard: `await using`, so that it is closed before its pooler is. */
  static async open(browser: Browser, rig: ConsoleRig, viewing: Viewing = {}): Promise<Viewer> {
    const { expects, ...rest } = viewing
    const size = { width: 1440, height: 900 }
    const options = { viewport: size, colorScheme: 'light', reducedMotion: 'reduce', ...rest } as const
    const context = await browser.newContext(options)
    const page = await context.newPage()
    page.setDefaultTimeout(LIMIT_MS)
    const viewer = new Viewer(page, await mkdtemp(join(tmpdir(), 'pgmux-dashboard-')))
    const origin = `http://127.0.0.1:${dashboardPort(rig)}`
    viewer.#watch(origin, expects)
    await page.goto(`${origin}/`)
    return viewer
  }

  /** Nothing may have gone wrong. */
  async [Symbol.asyncDispose](): Promise<void> {
    await this.page.context().close()
    assert.deepEqual(this.#problems, [])
  }

  #watch(origin: string, expects: RegExp | undefined): void {
    const note = (text: string): void => {
      if (expects?.test(text) !== true) this.#problems.push(text)
    }
    // Violations of the policy are errors there as well.
    this.page.on('console', (message) => {
      if (['error', 'warning'].includes(message.type())) note(message.text())
    })
    this.page.on('pageerror', (error) => note(String(error.stack)))
    this.page.on('dialog', (dialog) => {
      note(`a dialog: ${dialog.message()}`)
      void dialog.dismiss()
    })
    this.page.on('request', (request) => {
      if (!request.url().startsWith(`${origin}/`)) note(`a request to ${request.url()}`)
    })
  }

  /** Resolves when the sentence about the state is like this. @returns it */
  async says(like: RegExp): Promise<string> {
    const found = this.page.locator('h1#sentence').filter({ hasText: like })
    await found.waitFor()
    return (await found.innerText()).replaceAll('\u00a0', ' ')
  }

  /** The card of the cause with this title. */
  cause(title: RegExp): Locator {
    return this.page
      .locator('#causes article')
      .filter({ has: this.page.getByRole('heading', { name: title }) })
  }

  /** What a part of the page says. */
  async read(part: Locator): Promise<string> {
    return (await part.innerText()).replaceAll('\u00a0', ' ').replaceAll(/\s*[\n\t]\s*/g, ' | ')
  }

  /** Through the dialog. */
  async login({ user, password }: { user: string; password: string }): Promise<void> {
    await this.page.getByRole('banner').getByRole('button', { name: 'Log in' }).click()
    const dialog = this.page.getByRole('dialog', { name: 'Log in' })
    await dialog.getByLabel('User').fill(user)
    await dialog.getByLabel('Password').fill(password)
    await dialog.getByRole('button', { name: 'Log in' }).click()
    await this.page.getByRole('button', { name: 'Log out' }).waitFor()
  }

  /** The page sends a request of its own, as a script in it could. @returns its status */
  post(path: string, body: object): Promise<number> {
    const text = JSON.stringify(body)
    const headers = { 'content-type': 'application/json' }
    const ask = `fetch(${JSON.stringify(path)}, ${JSON.stringify({ method: 'POST', headers, body: text })})`
    return this.page.evaluate(`${ask}.then(({ status }) => status)`)
  }

  /** A picture in a folder for temporary files. @returns its path */
  async shot(name: string): Promise<string> {
    const path = join(this.#folder, `${name}.png`)
    await this.page.screenshot({ path })
    return path
  }

  /** What axe finds wrong with the page as it is now, in the light and in the dark, a line each. */
  async axe(): Promise<string[]> {
    await this.page.evaluate(AXE)
    const inLight = await this.#violations('axe.run(document, { resultTypes: ["violations"] })')
    await this.page.emulateMedia({ colorScheme: 'dark' })
    // All else is as in the light.
    const inDark = await this.#violations('axe.run(document, { runOnly: ["color-contrast"] })')
    await this.page.emulateMedia({ colorScheme: 'light' })
    return [...inLight, ...inDark.map((line) => `in the dark: ${line}`)]
  }

  async #violations(run: string): Promise<string[]> {
    const found = (await this.page.evaluate(run)) as {
      violations: { id: string; help: string; nodes: { target: string[]; failureSummary: string }[] }[]
    }
    return found.violations.flatMap(({ id, help, nodes }) =>
      nodes.map(({ target, failureSummary }) => `${id}: ${help}: ${target.join(' ')}: ${failureSummary}`),
    )
  }
}
