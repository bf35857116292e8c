#!/usr/bin/env node
// Owns the start on whatever Node is there: plain JavaScript that old versions can read. A clone runs src/ as it
// is, the npm package and the image run the built dist/.
// Must never do more than choose what runs.
import { spawn } from 'node:child_process'
import { existsSync } from 'node:fs'
import { constants } from 'node:os'
import { fileURLToPath } from 'node:url'

// From here on Node runs TypeScript without a flag.
const LEAST = [22, 18]

const [major, minor] = process.versions.node.split('.').map(Number)
const old = major < LEAST[0] || (major === LEAST[0] && minor < LEAST[1])
const ownNode = fileURLToPath(new URL('../node_modules/node/bin/node', import.meta.url))

// V8 otherwise optimises Postgres' grammar when it is used much, and takes half a GiB for a second to do so. It
// takes this on its command line only.
const FLAG = '--liftoff-only'
const hasFlag = process.execArgv.includes(FLAG) || typeof process.execve !== 'function'

if (!old && !hasFlag) {
  const args = [...process.execArgv, fileURLToPath(import.meta.url), ...process.argv.slice(2)]
  process.execve(process.execPath, [process.execPath, FLAG, ...args], process.env)
} else if (!old) {
  const source = new URL('../src/main.ts', import.meta.url)
  await import(existsSync(source) ? source : new URL('../dist/main.js', import.meta.url))
} else if (existsSync(ownNode)) {
  const args = [FLAG, fileURLToPath(import.meta.url), ...process.argv.slice(2)]
  const child = spawn(ownNode, args, { stdio: 'inherit' })
  for (const name of ['SIGTERM', 'SIGINT', 'SIGHUP', 'SIGQUIT', 'SIGUSR1', 'SIGUSR2']) {
    process.on(name, () => child.kill(name))
  }
  child.on('exit', (code, signal) => process.exit(code ?? 128 + constants.signals[signal]))
} else {
  console.error(
    `pgmux needs Node ${LEAST.join('.')} or newer and this is ${process.versions.node}: install a newer one, ` +
      'or, in a clone, run npm install first, which brings its own.',
  )
  process.exit(1)
}
