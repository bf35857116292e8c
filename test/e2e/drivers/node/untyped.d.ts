// The parts that are used of two packages without types of their own.
declare module 'pg-cursor' {
  export default class Cursor<Row> {
    constructor(text: string, values?: readonly unknown[])
    submit(): void
    handleError(): void
    read(count: number): Promise<Row[]>
    close(): Promise<void>
  }
}

declare module 'pg-copy-streams' {
  import type { Readable, Writable } from 'node:stream'
  export function from(text: string): Writable & { submit(): void; rowCount: number }
  export function to(text: string): Readable & { submit(): void; rowCount: number }
}
