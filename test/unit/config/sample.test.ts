// config.yaml and docs/configuration.md say exactly what the schema says: every key, no other, the same
// defaults, the same meaning.

import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import { describe, it } from 'node:test'
import { fileURLToPath } from 'node:url'
import { parse } from 'yaml'
import { loadConfig } from '../../../src/config/load.ts'
import { OPTIONS } from '../../../src/config/options.ts'

const path = (name: string): string => fileURLToPath(new URL(`../../../${name}`, import.meta.url))
const sample = readFileSync(path('config.yaml'), 'utf8')
const docs = readFileSync(path('docs/configuration.md'), 'utf8')

/** Dotted paths of all values that are not maps; names of databases and users become `<name>`. */
function leaves(value: unknown, at: readonly string[] = []): [string, unknown][] {
  if (typeof value !== 'object' || value === null) return [[at.join('.'), value]]
  const named = at.length === 1 && (at[0] === 'databases' || at[0] === 'users')
  return Object.entries(value).flatMap(([key, inner]) => leaves(inner, [...at, named ? '<name>' : key]))
}

describe('config.yaml', () => {
  it('is the default configuration', () => {
    const options = { env: {}, terminal: false }
    const loaded = loadConfig({ file: path('config.yaml'), ...options })
    assert.deepEqual(loaded.config, loadConfig(options).config)
    assert.deepEqual(loaded.warnings, [])
  })

  it('has every key with its default, and no other', () => {
    const known = OPTIONS.filter((option) => option.env !== null)
    const expected = known.map((option) => [option.path.join('.'), String(option.fallback)])
    const found = leaves(parse(sample)).map(([key, value]) => [key, String(value)])
    assert.deepEqual(found, expected)
  })

  it('explains every key on the line above it', () => {
    for (const option of OPTIONS) {
      if (option.env === null) continue
      const key = option.path.at(-1)!
      const explained = sample.includes(
        `# ${option.description}\n${' '.repeat(option.path.length * 2 - 2)}${key}: `,
      )
      assert.ok(
        explained,
        `${option.path.join('.')}: "# ${option.description}" is not above it in config.yaml`,
      )
    }
  })

  it('shows every key of databases and users in its examples', () => {
    const examples = [...sample.matchAll(/^# (?:databases|users):\n(?:# .*\n)+/gm)]
    const shown = examples.flatMap(([text]) =>
      leaves(parse(text.replaceAll(/^# /gm, ''))).map(([key]) => key),
    )
    const expected = OPTIONS.filter((option) => option.env === null).map((option) => option.path.join('.'))
    assert.deepEqual([...new Set(shown)].sort(), expected.sort())
  })
})

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

describe('docs/configuration.md', () => {
  const row = (option: (typeof OPTIONS)[number]): string => {
    const key = `| \`${option.path.join('.')}\` |`
    if (option.env === null) return `${key} ${option.description} |`
    const fallback =
      option.fallback === '' ? "''" : option.path.at(-1) === 'unix_socket_mode' ? "'0777'" : option.fallback
    return `${key} \`${fallback}\` | \`${option.env}\` | ${option.description} |`
  }

  it('has a row for every key, and for no other', () => {
    const found = docs.split('\n').filter((line) => /^\| `[a-z]+\.[a-z_.<>]+` \|/.test(line))
    assert.deepEqual(found, OPTIONS.map(row))
  })

  it('has each setting of PgBouncer 1.25', () => {
    const table = docs.slice(docs.indexOf('## From PgBouncer'))
    const missing = PGBOUNCER.trim()
      .split(/\s+/)
      .filter((name) => !table.includes(`\`${name}\``))
    assert.deepEqual(missing, [])
  })

  it('maps names of PgBouncer to keys that exist', () => {
    const known = new Set(OPTIONS.map((option) => option.path.join('.')))
    const table = docs.slice(docs.indexOf('## From PgBouncer'))
    const sections = 'listen|client|upstream|pool|databases|users|serverless|admin|log|embedded|shutdown'
    for (const [, key] of table.matchAll(new RegExp(`\`((?:${sections})\\.[a-z_.<>]+)\``, 'g'))) {
      assert.ok(
        known.has(key!) || key === 'databases.<name>' || key === 'users.<name>',
        `${key} does not exist`,
      )
    }
  })
})

it('no two keys have the same environment variable', () => {
  const names = OPTIONS.flatMap((option) => option.env ?? [])
  assert.equal(new Set(names).size, names.length)
})
