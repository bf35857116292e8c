// psycopg 3, psycopg2 and asyncpg as Debian packages them.
import { interpreted } from '../support/driver-programs.ts'
import { testDrivers } from '../support/drivers.ts'

/** Debian's own Python: another one on the PATH does not have Debian's packages. */
const PYTHON = '/usr/bin/python3'

const command = (name: string) => interpreted(PYTHON, ['-c', `import ${name}`], `python/with_${name}.py`)

await testDrivers([
  {
    name: 'psycopg 3',
    command: await command('psycopg'),
    absent: ['pool'],
    // The driver loses the SQLSTATE when the connection goes with it.
    shows: { reconnect: ['OperationalError', 1] },
  },
  {
    name: 'psycopg2',
    command: await command('psycopg2'),
    absent: ['prepared', 'prepared_tx', 'pipeline', 'pool'],
    shows: { reconnect: ['OperationalError', 1] },
  },
  {
    name: 'asyncpg',
    command: await command('asyncpg'),
    // The driver cancels a query that takes too long, and tells of the time and not of Postgres.
    shows: { cancel: ['TimeoutError', 1], reconnect: ['08003', 1] },
  },
])
