// Owns: a network of two ends on this machine, a namespace with one cable to us, that a test can make deaf,
// lossy or slow. Must never touch another interface, nor stay when the test is over.
import { execFile } from 'node:child_process'
import { promisify } from 'node:util'
import { findProgram } from './programs.ts'

const run = promisify(execFile)
let count = 0

export class Network {
  /** Our end, and the end inside. */
  readonly near: string
  readonly far: string
  readonly #name: string

  private constructor(name: string, near: string, far: string) {
    this.#name = name
    this.near = near
    this.far = far
  }

  /** @returns the reason where this machine cannot */
  static async open(): Promise<Network | string> {
    for (const program of ['ip', 'nft', 'tc']) {
      if (findProgram(program) === null) return `the program ${program} is not installed`
    }
    const name = `pgmux${process.pid}x${++count}`
    // Addresses for tests of networks (RFC 2544), four for each process.
    const first = ((process.pid * 16 + count) * 4) & 0xffff
    const address = (place: number) => `198.18.${first >> 8}.${(first & 255) + place}`
    const network = new Network(name, address(1), address(2))
    try {
      await network.#connect(`pm${process.pid}x${count}`)
      return network
    } catch (error) {
      await network.close()
      return `network namespaces cannot be made here (${String((error as Error).message).trim()})`
    }
  }

  async #connect(cable: string): Promise<void> {
    const name = this.#name
    await run('ip', ['netns', 'add', name])
    await run('ip', ['link', 'add', cable, 'type', 'veth', 'peer', 'name', 'far', 'netns', name])
    await run('ip', ['addr', 'add', `${this.near}/30`, 'dev', cable])
    await run('ip', ['link', 'set', cable, 'up'])
    await run('ip', ['-n', name, 'addr', 'add', `${this.far}/30`, 'dev', 'far'])
    for (const link of ['far', 'lo']) await run('ip', ['-n', name, 'link', 'set', link, 'up'])
    await this.drop('')
  }

  /** The command that runs another inside. */
  get inside(): readonly string[] {
    return ['ip', 'netns', 'exec', this.#name]
  }

  /** Packets of the cable for which this nftables expression holds are lost, both ways; '': none. */
  async drop(condition: string): Promise<void> {
    const chain = (hook: string, link: string) => [
      `chain ${hook} {`,
      `type filter hook ${hook} priority 0`,
      ...(condition === '' ? [] : [`${link} "far" ${condition} drop`]),
      '}',
    ]
    // Made and deleted first, so that it need not be there.
    const rules = [
      'table inet pgmux {}',
      'delete table inet pgmux',
      'table inet pgmux {',
      ...chain('input', 'iifname'),
      ...chain('output', 'oifname'),
      '}',
    ].join('\n')
    await run('ip', ['netns', 'exec', this.#name, 'nft', rules])
  }

  /** What leaves the inside goes at this rate (of tc, such as `1mbit`). */
  async throttle(rate: string): Promise<void> {
    const args = ['qdisc', 'replace', 'dev', 'far', 'root', 'tbf', 'rate', rate]
    await run('tc', ['-n', this.#name, ...args, 'burst', '16k', 'latency', '200ms'])
  }

  /** Bytes that the inside has sent to this port of ours and that are not acknowledged. */
  async unacknowledged(port: number): Promise<number> {
    const { stdout } = await run('ip', ['netns', 'exec', this.#name, 'cat', '/proc/net/tcp'])
    const peer = `:${port.toString(16).toUpperCase().padStart(4, '0')}`
    const fields = stdout.split('\n').map((line) => line.trim().split(/\s+/))
    const found = fields.find(([, , remote]) => remote?.endsWith(peer))
    return found === undefined ? 0 : Number.parseInt(String(found[4]).split(':')[0] ?? '0', 16)
  }

  async close(): Promise<void> {
    await run('ip', ['netns', 'del', this.#name]).catch(() => {})
  }
}
