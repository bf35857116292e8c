// Owns: a headless Chromium of this machine, and pages for it on an origin of their own, on loopback.
// Must never let the browser reach anything else, and never outlive the test file.
import { createReadStream } from 'node:fs'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { after } from 'node:test'
import { fileURLToPath } from 'node:url'
import { type Browser, chromium } from 'playwright-core'
import { findProgram } from './programs.ts'

const PROGRAM = ['chromium', 'chromium-browser', 'google-chrome']
  .map(findProgram)
  .find((path) => path !== null)
/** Why there is no browser; '' where there is one: a reason for notRun(). */
export const NO_BROWSER: string = PROGRAM === undefined ? 'chromium is not installed' : ''
const QUIET = [
  ...['--no-sandbox', '--disable-gpu', '--disable-quic', '--no-first-run', '--disable-background-networking'],
  ...['--disable-component-update', '--disable-sync', '--disable-dev-shm-usage'],
  // Names are not looked up, and nothing but loopback is reached.
  '--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1',
]

/** Closed with the file. */
export async function startBrowser(): Promise<Browser> {
  const browser = await chromium.launch({ executablePath: PROGRAM!, headless: true, args: QUIET })
  after(() => browser.close())
  return browser
}

/** Serves these files, and an empty page for every other path. @returns its origin */
export async function servePages(files: Readonly<Record<string, URL>>): Promise<string> {
  const server = createServer((request, response) => {
    const file = files[request.url ?? '']
    if (file === undefined) {
      response.setHeader('content-type', 'text/html')
      response.end('<!doctype html><title>an application</title><link rel="icon" href="data:,">')
      return
    }
    const type = file.pathname.endsWith('.html') ? 'text/html' : 'text/javascript'
    response.setHeader('content-type', type)
    createReadStream(fileURLToPath(file)).pipe(response)
  }).listen(0, '127.0.0.1')
  await new Promise((resolve) => server.once('listening', resolve))
  after(() => {
    server.closeAllConnections()
    server.close()
  })
  return `http://127.0.0.1:${(server.address() as AddressInfo).port}`
}
