// Asks a hook something that a login waits for. Whatever it does, there is an answer in time: its own, or
// that it gave none.

/** What it answered, or why that cannot be used. */
export type Answer = { readonly value: unknown } | { readonly problem: string; readonly thrown?: unknown }

/** Never rejects. @param ask calls the hook */
export function askHook(ask: () => unknown, timeoutMs: number): Promise<Answer> {
  return new Promise((resolve) => {
    const timer = setTimeout(() => resolve({ problem: `gave no answer within ${timeoutMs} ms` }), timeoutMs)
    const answer = (given: Answer): void => {
      clearTimeout(timer)
      resolve(given)
    }
    try {
      Promise.resolve(ask()).then(
        (value) => answer({ value }),
        (thrown: unknown) => answer({ problem: 'failed', thrown }),
      )
    } catch (thrown) {
      answer({ problem: 'failed', thrown })
    }
  })
}

/** One line about what was thrown, for the log. */
export function wordsOf(thrown: unknown): string {
  return thrown instanceof Error ? `${thrown.name}: ${thrown.message}` : typeof thrown
}
