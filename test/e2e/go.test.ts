// lib/pq and pgx, as test/e2e/drivers/go/go.mod names them.
import { compiledGo } from '../support/driver-programs.ts'
import { testDrivers } from '../support/drivers.ts'

const [pq, pgx] = await compiledGo(['pq', 'pgx'])

await testDrivers([
  {
    name: 'lib/pq',
    command: pq!,
    absent: ['pipeline'],
    // Its COPY works in transactions only.
    needsTransaction: ['copy'],
    shows: { reconnect: ['*errors.errorString', 1] },
  },
  { name: 'pgx', command: pgx! },
])
