// Owns the lists of Postgres' own functions (and of its contrib modules) that a pooler has to know by name.
// Names only, without schema: a function of the same name elsewhere is taken for the same, which is too much
// and never too little.

/** Session-level advisory locks, and what gives them back. */
export const ADVISORY_LOCKS: ReadonlySet<string> = new Set([
  'pg_advisory_lock',
  'pg_advisory_lock_shared',
  'pg_try_advisory_lock',
  'pg_try_advisory_lock_shared',
  'pg_advisory_unlock',
  'pg_advisory_unlock_shared',
  'pg_advisory_unlock_all',
])

/** They write a sequence and what currval and lastval say. */
export const SEQUENCE_WRITERS: ReadonlySet<string> = new Set(['nextval', 'setval'])

/** They say what this session did. */
export const SEQUENCE_READERS: ReadonlySet<string> = new Set(['currval', 'lastval'])

export const SEQUENCE_FUNCTIONS: ReadonlySet<string> = new Set([...SEQUENCE_WRITERS, ...SEQUENCE_READERS])

export const CHANNEL_FUNCTIONS: ReadonlySet<string> = new Set(['pg_notify'])

/**
 * State of the backend that nothing shows and nothing but the end of the session surely takes away. Those
 * of contrib and of well-known extensions too: connections of dblink, limits of pg_trgm, ..
 */
export const STATE_FUNCTIONS: ReadonlySet<string> = new Set([
  'setseed',
  'set_limit',
  'dblink_connect',
  'dblink_connect_u',
  'dblink_disconnect',
  'dblink_open',
  'dblink_fetch',
  'dblink_close',
  'dblink_send_query',
  'dblink_get_result',
  'dblink_get_connections',
  'postgres_fdw_disconnect',
  'postgres_fdw_disconnect_all',
  'pg_replication_origin_session_setup',
  'pg_replication_origin_session_reset',
  'pg_create_logical_replication_slot',
  'pg_create_physical_replication_slot',
  'pg_copy_logical_replication_slot',
  'pg_copy_physical_replication_slot',
  'hypopg',
  'hypopg_create_index',
  'hypopg_drop_index',
  'hypopg_hide_index',
  'hypopg_reset',
  'pgv_set',
  'pgv_get',
  'pgv_free',
])

/** They run SQL that is given as text, so what they do cannot be seen in the statement. */
export const TEXT_RUNNERS: ReadonlySet<string> = new Set([
  'query_to_xml',
  'query_to_xmlschema',
  'query_to_xml_and_xmlschema',
  'cursor_to_xml',
  'cursor_to_xmlschema',
  'table_to_xml',
  'table_to_xml_and_xmlschema',
  'schema_to_xml',
  'schema_to_xml_and_xmlschema',
  'database_to_xml',
  'database_to_xml_and_xmlschema',
  'ts_stat',
  'ts_rewrite',
  'crosstab',
  'crosstab2',
  'crosstab3',
  'crosstab4',
  'crosstabn',
  'connectby',
  'xpath_table',
  'xslt_process',
])

/**
 * They do something that a read-only transaction does not stop, or that is seen outside of the statement, but
 * leave nothing in the session.
 */
export const EFFECTS: ReadonlySet<string> = new Set([
  'pg_advisory_xact_lock',
  'pg_advisory_xact_lock_shared',
  'pg_try_advisory_xact_lock',
  'pg_try_advisory_xact_lock_shared',
  'dblink',
  'dblink_exec',
  'dblink_cancel_query',
  'lo_creat',
  'lo_create',
  'lo_import',
  'lo_export',
  'lo_open',
  'lo_close',
  'lo_put',
  'lo_from_bytea',
  'lo_truncate',
  'lo_truncate64',
  'lo_unlink',
  'lowrite',
  'loread',
  'lo_lseek',
  'lo_lseek64',
  'lo_tell',
  'lo_tell64',
  'lo_get',
  'pg_cancel_backend',
  'pg_terminate_backend',
  'pg_reload_conf',
  'pg_rotate_logfile',
  'pg_log_backend_memory_contexts',
  'pg_sleep',
  'pg_sleep_for',
  'pg_sleep_until',
  'pg_export_snapshot',
  'pg_current_xact_id',
  'txid_current',
  'pg_stat_reset',
  'pg_stat_reset_shared',
  'pg_stat_reset_slru',
  'pg_stat_reset_single_table_counters',
  'pg_stat_reset_single_function_counters',
  'pg_stat_reset_replication_slot',
  'pg_stat_reset_subscription_stats',
  'pg_stat_reset_backend_stats',
  'pg_stat_clear_snapshot',
  'pg_stat_force_next_flush',
  'pg_stat_statements_reset',
  'pg_prewarm',
  'pg_logical_emit_message',
  'pg_logical_slot_get_changes',
  'pg_logical_slot_get_binary_changes',
  'pg_logical_slot_peek_changes',
  'pg_logical_slot_peek_binary_changes',
  'pg_replication_slot_advance',
  'pg_drop_replication_slot',
  'pg_switch_wal',
  'pg_create_restore_point',
  'pg_start_backup',
  'pg_stop_backup',
  'pg_backup_start',
  'pg_backup_stop',
  'pg_promote',
  'pg_wal_replay_pause',
  'pg_wal_replay_resume',
  'pg_file_write',
  'pg_file_sync',
  'pg_file_rename',
  'pg_file_unlink',
  'pg_import_system_collations',
  'pg_extension_config_dump',
  'pg_nextoid',
  'brin_summarize_new_values',
  'brin_summarize_range',
  'brin_desummarize_range',
  'gin_clean_pending_list',
  'currtid2',
])

/** What other clients left on the server can be seen in them. */
export const PEEKS: ReadonlySet<string> = new Set([
  'pg_prepared_statements',
  'pg_prepared_statement',
  'pg_cursors',
  'pg_cursor',
  'pg_listening_channels',
  'pg_my_temp_schema',
  'pg_backend_memory_contexts',
  'pg_get_backend_memory_contexts',
])

/** Extensions in C whose functions leave nothing in the session, but for those listed above. */
export const HARMLESS_EXTENSIONS: ReadonlySet<string> = new Set([
  'adminpack',
  'amcheck',
  'bloom',
  'btree_gin',
  'btree_gist',
  'citext',
  'cube',
  'dict_int',
  'dict_xsyn',
  'earthdistance',
  'fuzzystrmatch',
  'hstore',
  'intarray',
  'isn',
  'ltree',
  'pageinspect',
  'pg_buffercache',
  'pg_freespacemap',
  'pg_stat_statements',
  'pg_trgm',
  'pg_visibility',
  'pgcrypto',
  'pgrowlocks',
  'pgstattuple',
  'seg',
  'sslinfo',
  'tsm_system_rows',
  'tsm_system_time',
  'unaccent',
  'uuid-ossp',
  'vector',
])
