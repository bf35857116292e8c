// node-postgres with what comes beside it, and postgres.js, through the scenario that all drivers go through.
import { forNode } from '../support/driver-programs.ts'
import { testDrivers } from '../support/drivers.ts'

await testDrivers([
  { name: 'node-postgres', command: forNode('with-pg.ts'), absent: ['pipeline'] },
  {
    name: 'postgres.js',
    command: forNode('with-postgres-js.ts'),
    shows: { reconnect: ['CONNECTION_CLOSED', 1] },
  },
])
