// drizzle-orm, kysely and knex on node-postgres, through what they have of the scenario.
import { forNode } from '../support/driver-programs.ts'
import { testDrivers } from '../support/drivers.ts'

// What an ORM lacks its driver has, on the same connections (node-drivers.test.ts).
const absent = ['pipeline', 'copy', 'cancel', 'listen']
const places = ['one', 'session'] as const

await testDrivers([
  { name: 'drizzle-orm', command: forNode('with-drizzle.ts'), places, absent: [...absent, 'cursor'] },
  {
    name: 'kysely',
    command: forNode('with-kysely.ts'),
    places,
    absent: [...absent, 'prepared', 'prepared_tx'],
  },
  { name: 'knex', command: forNode('with-knex.ts'), places, absent: [...absent, 'prepared', 'prepared_tx'] },
])
