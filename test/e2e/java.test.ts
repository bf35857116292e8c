// pgjdbc as Debian packages it, with a JDK: as it comes, with rewritten batches, and without the extended
// protocol.
import { compiledJava } from '../support/driver-programs.ts'
import { testDrivers } from '../support/drivers.ts'

const command = await compiledJava()
const common = { command, absent: ['pool'] }

await testDrivers([
  { ...common, name: 'pgjdbc' },
  {
    ...common,
    name: 'pgjdbc with reWriteBatchedInserts and prepareThreshold=1',
    env: { JDBC_OPTIONS: '&reWriteBatchedInserts=true&prepareThreshold=1' },
    places: ['one'],
  },
  {
    ...common,
    name: 'pgjdbc with preferQueryMode=simple',
    env: { JDBC_OPTIONS: '&preferQueryMode=simple' },
    places: ['one'],
  },
])
