// Rows of our own, read by node-postgres' idea of the types.
import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { type Column, dataRow, Format, formatOf, rowDescription } from '../../../src/wire/rows.ts'
import { decode } from '../../support/messages.ts'

const columns: Column[] = [
  { name: 'a', type: 'text' },
  { name: 'b', type: 'int4' },
  { name: 'c', type: 'int8' },
  { name: 'd', type: 'numeric' },
]

function values(row: Buffer): (Buffer | null)[] {
  const message = decode(row)
  assert.ok(message.type === 'D')
  return message.values
}

describe('rows', () => {
  it('in text', () => {
    const all = values(dataRow(columns, ['é\0x', 7, 2 ** 40, 12_345_678_901]))
    assert.deepEqual(
      all.map((value) => value?.toString()),
      ['éx', '7', '1099511627776', '12345678901'],
    )
    assert.deepEqual(values(dataRow(columns, [null, null, null, null])), [null, null, null, null])
    assert.deepEqual(values(dataRow(columns, [])), [null, null, null, null])
  })

  it('never say a number that its type cannot hold', () => {
    const [, b] = values(dataRow(columns, ['', 2 ** 40]))
    assert.equal(b?.toString(), '2147483647')
    const [, odd, c, d] = values(dataRow(columns, ['', Number.NaN, 1.6, Number.POSITIVE_INFINITY]))
    assert.deepEqual([odd, c, d].map(String), ['0', '2', '0'])
  })

  it('in binary, where that was asked for', () => {
    const [a, b, c] = values(dataRow(columns, ['x', -7, 2 ** 40, 0], [Format.Binary]))
    assert.equal(a?.toString(), 'x')
    assert.equal(b?.readInt32BE(), -7)
    assert.equal(c?.readBigInt64BE(), 2n ** 40n)
    const mixed = values(dataRow(columns, ['x', 7, 7, 7], [0, 1, 0, 0]))
    assert.deepEqual(
      mixed.map((value) => value?.length),
      [1, 4, 1, 1],
    )
  })

  it('have numerics as Postgres writes them', () => {
    const numeric = (value: number) => values(dataRow(columns, ['', 0, 0, value], [1]))[3]?.toString('hex')
    // From Postgres: select encode(numeric_send(value), 'hex').
    assert.equal(numeric(0), '0000000000000000')
    assert.equal(numeric(1), '00010000000000000001')
    assert.equal(numeric(-1), '00010000400000000001')
    assert.equal(numeric(10_000), '00010001000000000001')
    assert.equal(numeric(12_345_678), '000200010000000004d2162e')
    assert.equal(numeric(100_020_000), '000200020000000000010002')
  })

  it('are described with the types and formats that they have', () => {
    const message = decode(rowDescription(columns, [0, 1, 1, 0]))
    assert.ok(message.type === 'T')
    assert.deepEqual(
      message.columns.map(({ name, type, size, format }) => [name, type, size, format]),
      [
        ['a', 25, -1, 0],
        ['b', 23, 4, 1],
        ['c', 20, 8, 1],
        ['d', 1700, -1, 0],
      ],
    )
    assert.deepEqual([formatOf([], 3), formatOf([1], 3), formatOf([0, 1], 1)], [0, 1, 1])
  })
})
