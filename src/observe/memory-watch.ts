// Whether the memory of the process is nearly used up, looked at once a second. It decides only that; who is
// turned away for it is the house's to say.
import { getHeapStatistics } from 'node:v8'

/** How much of a limit may be used, and below how much it is well again. */
const SHORT = 0.9
const WELL = 0.8
const EVERY_MS = 1000

/** What the process uses and may use, in bytes. */
export interface MemoryReading {
  readonly rss: number
  /** Of the container; Infinity: none. */
  readonly limit: number
  readonly heap: number
  readonly heapLimit: number
}

let lastRss = 0

/** Resident bytes of the process. Reading them takes a file; where none is left, as they were last read. */
function readRss(): number {
  try {
    lastRss = process.memoryUsage.rss()
  } catch {
    // EMFILE must not be the end of the process.
  }
  return lastRss
}

/** Reads the process. Never throws. */
export function readMemory(): MemoryReading {
  const { used_heap_size: heap, heap_size_limit: heapLimit } = getHeapStatistics()
  const limit = process.constrainedMemory()
  // 0, or more than any machine has, where there is no container with a limit.
  const isLimited = limit > 0 && limit < Number.MAX_SAFE_INTEGER
  return {
    rss: readRss(),
    limit: isLimited ? limit : Number.POSITIVE_INFINITY,
    heap,
    heapLimit,
  }
}

/** The memory of the process. */
export class MemoryWatch {
  /** It is nearly used up: nobody new should come in. */
  isShort = false
  readonly #read: () => MemoryReading
  readonly #workers: number
  #nextAt = 0

  /** @param workers processes like this one that share the memory */
  constructor(read: () => MemoryReading = readMemory, workers = 1) {
    this.#read = read
    this.#workers = workers
  }

  /**
   * Time has passed.
   * @param most bytes that the process may have; 0: as its container says
   * @returns whether `isShort` is another now
   */
  tick(now: number, most: number): boolean {
    if (now < this.#nextAt) return false
    this.#nextAt = now + EVERY_MS
    const { rss: own, limit, heap, heapLimit } = this.#read()
    const rss = own * this.#workers
    // A limit of the operator's is meant as it stands; a container that reaches its own is killed.
    const use = Math.max(most > 0 ? (rss / most) * SHORT : rss / limit, heap / heapLimit)
    const before = this.isShort
    this.isShort = before ? use > WELL : use > SHORT
    return this.isShort !== before
  }
}
