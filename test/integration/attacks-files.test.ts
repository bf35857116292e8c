// Pipes and devices in the places of the files that a configuration names: who may write into such a folder
// must not be able to stop the process. Must never open them in this process.
import assert from 'node:assert/strict'
import { execFileSync } from 'node:child_process'
import { mkdirSync, mkdtempSync, renameSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, suite, test } from 'node:test'
import { fileURLToPath } from 'node:url'
import { getPostgres } from '../support/postgres.ts'
import { Program } from '../support/program.ts'
import { runProgram } from '../support/programs.ts'
import { eventually } from '../support/rig.ts'

const BIN = fileURLToPath(new URL('../../bin/pgmux.js', import.meta.url))
const postgres = await getPostgres()
const folder = mkdtempSync(join(tmpdir(), 'pgmux-files-'))
after(() => rmSync(folder, { recursive: true, force: true }))
const place = (name: string): string => join(folder, name)

execFileSync('mkfifo', [place('pipe'), place('waiting.conf')])
mkdirSync(place('hba.d'))
execFileSync('mkfifo', [place('hba.d/pipe.conf')])
writeFileSync(place('values.conf'), 'host all @pipe all trust\n')
writeFileSync(place('folder.conf'), 'include_dir hba.d\n')

const SERVED = 'tls: { mode: prefer, cert_file: pipe, key_file: pipe }'
const CASES: [what: string, config: string, times: number][] = [
  [
    'the lists and secrets of users and the rules of access',
    'client: { users_file: pipe, hba_file: folder.conf, ident_file: pipe }\n' +
      'users: { app: { password_file: pipe } }',
    4,
  ],
  ['a list of names in pg_hba.conf', 'client: { hba_file: values.conf }', 1],
  ['a certificate', `client: { ${SERVED} }`, 1],
  ['authorities', 'upstream: { tls: { mode: verify-ca, ca_file: pipe } }', 1],
]

function check(config: string) {
  const env = { PGMUX_CONFIG: '', DATABASE_URL: '', PGMUX_UPSTREAM_URL: 'postgres://app@127.0.0.1:1/app' }
  return runProgram(process.execPath, [BIN, 'check', '--config', config], { env, limit: 10_000, cwd: folder })
}

suite('a pipe', () => {
  for (const [what, config, times] of CASES) {
    test(`in the place of ${what} is refused, not waited for`, async () => {
      const name = place(`${what.replaceAll(' ', '-')}.yaml`)
      writeFileSync(name, `${config}\n`)
      const { code, signal, stderr } = await check(name)
      assert.equal(signal, null, 'it had to be killed')
      assert.equal(code, 1)
      assert.equal(stderr.match(/: it is a pipe; write it to a file/g)?.length, times, stderr)
    })
  }

  test('or a device without an end in the place of the configuration is refused as well', async () => {
    const [pipe, zero] = await Promise.all([check(place('pipe')), check('/dev/zero')])
    assert.match(pipe.stderr, /cannot be read: it is a pipe; write it to a file/)
    assert.match(zero.stderr, /cannot be read: it has more than 67108864 bytes/)
  })

  test('that a reload meets changes nothing', async () => {
    const { url, user, database } = postgres
    writeFileSync(place('pg_hba.conf'), 'host all all 127.0.0.1/32 trust\n')
    const config = place('reload.yaml')
    writeFileSync(config, `upstream: { url: '${url}' }\nclient: { hba_file: pg_hba.conf }\n`)
    const program = await Program.start(['--config', config], postgres.password)
    renameSync(place('waiting.conf'), place('pg_hba.conf'))
    program.child.kill('SIGHUP')
    await eventually(() => program.lines.some((line) => line.includes('it is a pipe')))
    await using client = await program.client({ user, database })
    assert.equal((await client.query('select 1')).error, null)
  })
})
