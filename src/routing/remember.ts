// Tables that remember what was learned of a pool's baselines: of a fixed length, the oldest going first. It
// owns no table.

/** Baselines, and accepted wishes, that are remembered. */
const REMEMBERED_MAX = 1000

/** Puts a value into a table that never grows beyond its limit. */
export function remember<T>(table: Map<string, T>, key: string, value: T): void {
  if (table.size >= REMEMBERED_MAX && !table.has(key)) {
    for (const oldest of table.keys()) {
      table.delete(oldest)
      break
    }
  }
  table.set(key, value)
}
