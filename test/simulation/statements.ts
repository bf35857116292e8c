// Owns: what the simulation adds to the model's statements: a statement that carries a client's number,
// answers with the settings that it sees, and notices when it runs twice or inside a stranger's
// transaction.

import type { FakeCluster, Session } from '../support/fake-postgres.ts'

const LITERAL = `'(?:[^']|'')*'`
const SHOWN = ['application_name', 'timezone', 'datestyle', 'work_mem', 'session_authorization'] as const

/** What the model has seen of nonces; a check finds `faults` empty. */
export class NonceBook {
  readonly faults: string[] = []
  readonly #runs = new Map<string, number>()
  /** Whose transaction a session is in. */
  readonly #owners = new WeakMap<Session, string>()
  readonly #known = new WeakSet<Session>()

  ran(session: Session, nonce: string): void {
    const runs = (this.#runs.get(nonce) ?? 0) + 1
    this.#runs.set(nonce, runs)
    if (runs > 1) this.faults.push(`${nonce} was executed ${runs} times`)
    this.#watch(session)
    const client = nonce.split(':')[0]!
    const owner = this.#owners.get(session)
    if (owner !== undefined && owner !== client) this.faults.push(`${nonce} ran in a transaction of ${owner}`)
    this.#owners.set(session, client)
    const name = session.settings.get('application_name')
    if (name !== '' && !name.startsWith(`${client}.`))
      this.faults.push(`${nonce} ran under the settings of ${name}`)
  }

  /** Forget the owner when the transaction ends. */
  #watch(session: Session): void {
    if (this.#known.has(session)) return
    this.#known.add(session)
    const { tx } = session
    const [commit, abort] = [tx.commit.bind(tx), tx.abort.bind(tx)]
    tx.commit = () => {
      this.#owners.delete(session)
      commit()
    }
    tx.abort = () => {
      this.#owners.delete(session)
      abort()
    }
  }
}

const books = new WeakMap<FakeCluster, NonceBook>()

export function bookOf(cluster: FakeCluster): NonceBook {
  return books.get(cluster)!
}

/** `select nonce('c1:2')` and `select nonce($1, 'label')`. */
export function teachNonces(cluster: FakeCluster): void {
  const book = new NonceBook()
  books.set(cluster, book)
  const columns = ['nonce', 'label', ...SHOWN].map((name) => ({ name, type: 25, size: -1 }))
  cluster.rules.push({
    match: new RegExp(`^select nonce\\((${LITERAL}|\\$1)(?:, (${LITERAL}))?\\)$`, 'i'),
    make: ([, source = '', label = "''"]) => ({
      form: 'rows',
      tag: 'SELECT',
      columns,
      *rows(session, params) {
        const nonce = source === '$1' ? (params[0] ?? '') : source.slice(1, -1)
        book.ran(session, nonce)
        const settings = SHOWN.map((name) => session.settings.get(name))
        yield { kind: 'row', row: [nonce, label.slice(1, -1), ...settings] }
      },
    }),
  })
}
