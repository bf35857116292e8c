// Ruby's pg as Debian packages it.
import { interpreted } from '../support/driver-programs.ts'
import { testDrivers } from '../support/drivers.ts'

const command = await interpreted('ruby', ['-e', 'require "pg"'], 'ruby/with_pg.rb')

await testDrivers([
  { name: 'Ruby pg', command, absent: ['pool'], shows: { reconnect: ['PG::ConnectionBad', 1] } },
])
