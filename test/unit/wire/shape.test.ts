// The shape of a result: equal for what Postgres takes as equal, different for what a driver would decode
// differently.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { isComparable, shapeOf } from '../../../src/wire/shape.ts'

type Column = [name: string, type: number, modifier?: number, format?: number, table?: number]

function description(...columns: Column[]): Buffer {
  const fields = columns.map(([name, type, modifier = -1, format = 0, table = 0]) => {
    const field = Buffer.alloc(18)
    field.writeInt32BE(table, 0)
    field.writeInt32BE(type, 6)
    field.writeInt16BE(4, 10)
    field.writeInt32BE(modifier, 12)
    field.writeInt16BE(format, 16)
    return Buffer.concat([Buffer.from(`${name}\0`), field])
  })
  const body = Buffer.concat(fields)
  const head = Buffer.from('T\0\0\0\0\0\0')
  head.writeInt32BE(6 + body.length, 1)
  head.writeInt16BE(columns.length, 5)
  return Buffer.concat([head, body])
}

const shape = (...columns: Column[]) => {
  const bytes = description(...columns)
  return shapeOf(bytes, 0, bytes.length, 0)
}

test('names, types and modifiers count; formats and tables do not', () => {
  const plain = shape(['a', 23], ['b', 25])
  assert.equal(shape(['a', 23, -1, 1], ['b', 25, -1, 1, 777]), plain)
  const others = [
    shape(['a', 23]),
    shape(['a', 23], ['c', 25]),
    shape(['a', 20], ['b', 25]),
    shape(['b', 25], ['a', 23]),
    shape(['a', 23, 5], ['b', 25]),
    shape(),
    shapeOf(Buffer.from('n\0\0\0\x04'), 0, 5, 0),
  ]
  assert.equal(new Set([plain, ...others]).size, others.length + 1)
})

test('what is not all here, or was cut, is told apart and never throws', () => {
  const bytes = description(['a', 23], ['b', 25])
  assert.equal(isComparable(shapeOf(bytes, 0, bytes.length, 1)), false)
  assert.equal(isComparable(0), false)
  for (let stop = 5; stop < bytes.length; stop++) assert.ok(shapeOf(bytes, 0, stop, 0) > 0)
})
