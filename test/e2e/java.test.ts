// pgjdbc as Debian packages it, with a JDK: as it comes, with rewritten batches, and without the extended
// protocol.
import { compiledJava } from '../support/driver-programs.ts'
import { testDrivers } from '../support/drivers.ts'

const command = await compiledJava()
const common = { command, absent: ['pool'] }
/** A virtual machine for each scenario costs more than all else here. */
const more =
  process.env.LONG === '1' ? common : { ...common, command: { missing: 'takes long: npm run test:long' } }

await testDrivers([
  { ...common, name: 'pgjdbc' },
  {
    ...more,
    name: 'pgjdbc with reWriteBatchedInserts and prepareThreshold=1',
    env: { JDBC_OPTIONS: '&reWriteBatchedInserts=true&prepareThreshold=1' },
    places: ['one'],
  },
  {
    ...more,
    name: 'pgjdbc with preferQueryMode=simple',
    env: { JDBC_OPTIONS: '&preferQueryMode=simple' },
    places: ['one'],
  },
])
