// docs/from-pgbouncer.md says what `pgmux import` does: the tables are those of
// src/config/import/settings.ts, each setting of PgBouncer is in them, keys and messages that the page
// names are there.
import assert from 'node:assert/strict'
import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, it } from 'node:test'
import { fileURLToPath } from 'node:url'
import { GROUPS, SETTINGS } from '../../../src/config/import/settings.ts'
import { DATABASE_KEYS, USER_KEYS } from '../../../src/config/import/settings-named.ts'
import { optionAt } from '../../../src/config/options.ts'
import { mappingTables } from '../../support/mapping-tables.ts'

const root = fileURLToPath(new URL('../../..', import.meta.url))
const page = readFileSync(join(root, 'docs/from-pgbouncer.md'), 'utf8')

/** What `SHOW CONFIG` lists there, and what is not in that list yet. */
const PGBOUNCER = `
  admin_users application_name_add_host auth_dbname auth_file auth_hba_file auth_ident_file
  auth_ldap_options auth_query auth_type auth_user autodb_idle_timeout cancel_wait_timeout
  client_idle_timeout client_login_timeout client_tls13_ciphers client_tls_ca_file
  client_tls_cert_file client_tls_ciphers client_tls_dheparams client_tls_ecdhcurve
  client_tls_key_file client_tls_protocols client_tls_sslmode conffile default_pool_size
  disable_pqexec dns_max_ttl dns_nxdomain_ttl dns_zone_check_period idle_transaction_timeout
  ignore_startup_parameters job_name listen_addr listen_backlog listen_port log_connections
  log_disconnections log_pooler_errors log_stats logfile login_notify_message max_client_conn
  max_db_client_connections max_db_connections max_packet_size max_prepared_statements
  max_user_client_connections max_user_connections min_pool_size peer_id pidfile pkt_buf
  pool_idle_timeout pool_mode query_timeout query_wait_notify query_wait_timeout reserve_pool_size
  reserve_pool_timeout resolv_conf sbuf_loopcnt scram_iterations server_check_delay server_check_query
  server_connect_timeout server_fast_close server_idle_timeout server_lifetime server_login_retry
  server_reset_query server_reset_query_always server_round_robin server_tls13_ciphers
  server_tls_ca_file server_tls_cert_file server_tls_ciphers server_tls_key_file server_tls_protocols
  server_tls_sslmode so_reuseport stats_period stats_users suspend_timeout syslog syslog_facility
  syslog_ident tcp_defer_accept tcp_keepalive tcp_keepcnt tcp_keepidle tcp_keepintvl tcp_socket_buffer
  tcp_user_timeout track_extra_parameters transaction_timeout unix_socket_dir unix_socket_group
  unix_socket_mode user verbose
`

/** The keys of a line of [databases] and of [users] in 1.25. */
const OF_DATABASES = `
  dbname host port user password auth_user auth_query auth_dbname client_encoding datestyle timezone
  application_name  pool_size min_pool_size reserve_pool_size reserve_pool connect_query pool_mode
  query_wait_timeout
  load_balance_hosts   max_db_connections max_db_client_connections server_lifetime
`
const OF_USERS = `
  pool_mode pool_size reserve_pool_size max_user_connections max_user_client_connections query_timeout
  query_wait_timeout idle_transaction_timeout transaction_timeout client_idle_timeout
`
const words = (text: string): string[] => text.trim().split(/\s+/).sort()
const namesOf = (settings: Iterable<{ name: string }>): string[] =>
  Array.from(settings, ({ name }) => name).sort()

describe('the table of settings', () => {
  it('has each setting of PgBouncer 1.25 once, and no other', () => {
    assert.deepEqual(namesOf(Object.values(GROUPS).flat()), words(PGBOUNCER))
    assert.deepEqual(namesOf(DATABASE_KEYS), words(OF_DATABASES))
    assert.deepEqual(namesOf(USER_KEYS), words(OF_USERS))
  })

  it('names keys that exist, and says why where there is none', () => {
    const rows = [
      ...Array.from(SETTINGS.values(), (row) => [row, ''] as const),
      ...DATABASE_KEYS.map((row) => [row, 'databases.x.'] as const),
      ...USER_KEYS.map((row) => [row, 'users.x.'] as const),
    ]
    for (const [{ name, to = [], note }, path] of rows) {
      for (const key of to) assert.ok(optionAt(`${path}${key}`.split('.')), `${name}: ${key} does not exist`)
      if (to.length === 0) assert.ok(note, `${name}: no key and no reason`)
    }
  })
})

describe('docs/from-pgbouncer.md', () => {
  it('has these tables (npm run options writes them)', () => {
    for (const [heading, table] of Object.entries(mappingTables())) {
      const [, found] = page.split(`\n### ${heading.replaceAll('\\', '')}\n\n`)
      assert.equal(found?.slice(0, table.length), table, `the table below "${heading}"`)
      assert.doesNotMatch(found.slice(table.length), /^\|/, `the table below "${heading}" is longer`)
    }
  })

  it('names keys that exist', () => {
    const sections =
      'listen|client|upstream|pool|databases|users|serverless|admin|log|embedded|shutdown|session'
    for (const [, key] of page.matchAll(new RegExp(`\`((?:${sections})\\.[a-z_.<>]+)\``, 'g')))
      assert.ok(optionAt(key!.split('.')), `${key} does not exist`)
  })

  it('names messages of PgBouncer and texts that pgmux says', () => {
    const sources = readdirSync(join(root, 'src'), { recursive: true, encoding: 'utf8' })
      .filter((name) => name.endsWith('.ts'))
      .map((name) => readFileSync(join(root, 'src', name), 'utf8'))
      .join('\n')
    const [, section = ''] = /\n## Messages\n([\s\S]*?)\n## /.exec(page) ?? []
    const rows = section
      .split('\n')
      .filter((line) => line.startsWith('| ') && !line.startsWith('| PgBouncer'))
    assert.ok(rows.length >= 20)
    for (const row of rows) {
      const [, theirs = '', ours = ''] = row.split('|')
      assert.match(theirs, /`/)
      const texts = [...ours.matchAll(/`([^`]+)`/g)].flatMap(([, text]) => text!.split('"X"'))
      for (const text of texts) assert.ok(sources.includes(text.trim()), `nothing in src says "${text}"`)
      if (texts.length === 0) assert.match(ours, /Postgres|console\.md/, row)
    }
  })
})
