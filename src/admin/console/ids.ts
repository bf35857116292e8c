// The numbers under which the console shows clients and servers. It owns them: one is given when something is
// shown first, and stays while the thing lives. Nothing in the core knows them.

const ids = new WeakMap<object, number>()
let last = 0
/** So many processes give numbers, and this is which of them. */
let maker = { number: 0, count: 1 }

/** Numbers of this process and of the others with which it shares the work are different ones. */
export function shareIds(number: number, count: number): void {
  maker = { number, count }
}

/** The number of a client or server; no two things ever have the same. */
export function idOf(thing: object): number {
  let id = ids.get(thing)
  if (id === undefined) {
    id = ++last * maker.count + maker.number
    ids.set(thing, id)
  }
  return id
}

/** The same as PgBouncer's `ptr` looks. */
export function pointerOf(thing: object): string {
  return `0x${idOf(thing).toString(16)}`
}

/** Reads an id or a pointer; NaN for anything else. */
export function readId(text: string): number {
  return /^(\d{1,15}|0x[0-9a-f]{1,12})$/i.test(text) ? Number(text) : Number.NaN
}
