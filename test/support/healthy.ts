// Owns: a well-behaved client that works all the time beside whatever a test does to the pooler. Must never
// forgive a wrong, late or missing answer.
import assert from 'node:assert/strict'
import * as m from './messages.ts'
import { type ClientOptions, WireClient } from './wire-client.ts'

/** How long one of its answers may take, in ms. */
const PATIENCE = 15_000

export class Healthy {
  answers = 0
  readonly #client: WireClient
  readonly #ended: Promise<void>
  #isStopping = false
  #failure: unknown = null

  private constructor(client: WireClient) {
    this.#client = client
    this.#ended = this.#work().catch((error: unknown) => {
      this.#failure = error
    })
  }

  static async start(options: ClientOptions): Promise<Healthy> {
    return new Healthy(await WireClient.connect({ ...options, timeout: PATIENCE }))
  }

  async #work(): Promise<void> {
    const client = this.#client
    assert.equal((await client.run(m.parse('select $1::int * 2', { name: 's1' }), m.sync())).error, null)
    while (!this.#isStopping) {
      const n = ++this.answers
      const use = [m.bind({ statement: 's1', params: [`${n}`] }), m.execute(), m.sync()]
      assert.deepEqual((await client.run(...use)).rows, [[`${2 * n}`]])
      assert.deepEqual((await client.query(`select 'healthy ${n}'`)).rows, [[`healthy ${n}`]])
      client.received.length = 0
    }
  }

  /** Resolves when it has had some more right answers. @throws what went wrong instead */
  async goesOn(): Promise<void> {
    const enough = this.answers + 3
    while (this.answers < enough && this.#failure === null) {
      await new Promise((resolve) => setImmediate(resolve))
    }
    if (this.#failure !== null) throw this.#failure
  }

  /** Its work is over. @throws when an answer was wrong or did not come */
  async stop(): Promise<void> {
    this.#isStopping = true
    await this.#ended
    await this.#client.end()
    if (this.#failure !== null) throw this.#failure
  }
}
