# Ruby's pg, a thin layer over libpq: named statements, pipeline mode, single row mode, COPY, cancel. The steps
# are those of ../README.md.
require "digest"
require "json"
require "pg"

WHO = ENV.fetch("WHO")
TEXT = "caf\u00e9 \u2603 \\ ' \" $1 %s"

def connect(**more)
  PG.connect(application_name: "e2e #{WHO}", **more)
end

$conn = connect

def one(sql, params = nil, conn = $conn)
  (params ? conn.exec_params(sql, params) : conn.exec(sql)).values.first
end

def number(sql)
  one(sql).first.to_i
end

def code_of
  yield
  abort "no error came"
rescue PG::Error => error
  error.respond_to?(:result) && error.result&.error_field(PG::Result::PG_DIAG_SQLSTATE) || error.class.name
end

def step_connect
  [$conn.user, $conn.parameter_status("client_encoding"), one("show application_name").first]
end

def step_types
  literals = "select 42::int, 9007199254740993::bigint, 12345678901234567890.123456789::numeric, 'x'::text, " \
    "'\\x0001feff'::bytea, '{\"a\": [1, 2]}'::json, '{\"a\": [1, 2]}'::jsonb, " \
    "'2024-02-03 04:05:06.789+00'::timestamptz, '2024-02-29'::date, 1.5::float8, true, '{1,2,NULL}'::int[], " \
    "array['a', 'b \"c\"'], null::int, '6ba7b810-9dad-11d1-80b4-00c04fd430c8'::uuid, 'fine'::mood_#{WHO}"
  map = PG::TypeMapByClass.new
  map[Integer] = PG::TextEncoder::Integer.new
  map[Array] = PG::TextEncoder::Array.new
  map[Float] = PG::TextEncoder::Float.new
  map[TrueClass] = PG::TextEncoder::Boolean.new
  bytes = { value: "\x00\x01\xfe\xff".b, format: 1, type: 17 }
  given = [42, 9_007_199_254_740_993, "12345678901234567890.123456789", TEXT, bytes, '{"a": [1, 2]}',
           "2024-02-03 04:05:06.789+00", "2024-02-29", 1.5, true, [1, 2, nil], ["a", 'b "c"'], nil,
           "6ba7b810-9dad-11d1-80b4-00c04fd430c8", "fine"]
  types = %W[int bigint numeric text bytea jsonb timestamptz date float8 bool int[] text[] int uuid mood_#{WHO}]
  casts = types.each_with_index.map { |type, i| "$#{i + 1}::#{type}" }.join(", ")
  typed = $conn.exec_params("select #{casts}", given, 0, map).map_types!(PG::BasicTypeMapForResults.new($conn))
  binary = $conn.exec_params("select $1::int, $2::text, null", [42, TEXT], 1)
  one(literals) + typed.values.first.map(&:inspect) + binary.values.first.map(&:inspect)
end

def step_params
  sum = "select " + (1..100).map { |i| "$#{i}::int" }.join(" + ")
  [*one("select $1::text, $2::text", [TEXT, nil]), one(sum, (1..100).to_a).first.to_i]
end

def step_errors
  insert = "insert into items_#{WHO} values ($1, 'x')"
  $conn.exec_params(insert, [9000])
  codes = [
    code_of { $conn.exec_params(insert, [9000]) },
    code_of { $conn.exec("select * from nowhere") },
    code_of { $conn.exec_params("select 1 / $1::int", [0]) },
  ]
  $conn.exec("delete from items_#{WHO}")
  [*codes, number("select 1")]
end

# The same names in both programs.
def twice(i)
  %w[one two].map do |name|
    $prepared ||= {}
    $prepared[name] ||= $conn.prepare(name, "select '#{WHO} ' || $1::text || ' #{name}'")
    $conn.exec_prepared(name, [i]).getvalue(0, 0)
  end
end

def step_prepared
  (0...20).flat_map { |i| twice(i) }
end

def step_prepared_tx
  (0...20).flat_map { |i| i % 3 == 2 ? twice(i) : $conn.transaction { twice(i) } }
end

def step_pipeline
  $conn.enter_pipeline_mode
  10.times { |i| $conn.send_query_params("select $1::text", ["#{WHO} #{i}"]) }
  $conn.pipeline_sync
  values = Array.new(10) { ($conn.get_result.getvalue(0, 0)).tap { $conn.get_result } }
  $conn.get_result
  [1, 0, 2].each { |divisor| $conn.send_query_params("select 1 / $1::int", [divisor]) }
  $conn.pipeline_sync
  results = []
  until (result = $conn.get_result)&.result_status == PG::PGRES_PIPELINE_SYNC
    results << result if result
  end
  $conn.exit_pipeline_mode
  [values, results[1].error_field(PG::Result::PG_DIAG_SQLSTATE), number("select 1")]
end

def step_copy
  count = $conn.copy_data("copy items_#{WHO} from stdin") do
    5000.times { |i| $conn.put_copy_data("#{i}\t#{WHO} row #{i}\n") }
  end.cmd_tuples
  digest = Digest::MD5.new
  $conn.copy_data("copy (select id, body from items_#{WHO} order by id) to stdout") do
    while (row = $conn.get_copy_data)
      digest << row
    end
  end
  code = code_of { $conn.copy_data("copy items_#{WHO} from stdin") { $conn.put_copy_data("seven\tx\n") } }
  $conn.exec("truncate items_#{WHO}")
  [count, digest.hexdigest, code, number("select 1")]
end

def step_large
  digest = Digest::MD5.new
  rows = 0
  $conn.send_query("select repeat(chr(97 + i % 26), 100000) from generate_series(0, 199) i")
  $conn.set_single_row_mode
  $conn.get_result.stream_each_row do |row|
    digest << row[0]
    rows += 1
  end
  length, sum = one("select length(t), md5(t) from (select $1::text) as given(t)", ["x" * 20_000_000])
  [[rows, digest.hexdigest], [length.to_i, sum]]
end

def step_cancel
  $conn.send_query("select pg_sleep(20)")
  sleep 0.3
  $conn.cancel
  code = code_of { $conn.get_last_result }
  [code, number("select 1")]
end

def step_transaction
  table = "items_#{WHO}"
  pids = $conn.transaction do
    $conn.exec("insert into #{table} values (1, 'kept')")
    Array.new(3) { number("select pg_backend_pid()") }
  end
  committed = number("select count(*) from #{table}")
  begin
    $conn.transaction do
      $conn.exec("insert into #{table} values (2, 'not kept')")
      raise "changed my mind"
    end
  rescue RuntimeError
    left = number("select count(*) from #{table}")
  end
  $conn.exec("delete from #{table}")
  [committed, left, pids.uniq.size == 1]
end

def step_savepoints
  insert = "insert into items_#{WHO} values ($1, 'x')"
  code = nil
  $conn.transaction do
    $conn.exec_params(insert, [1])
    $conn.exec("savepoint s")
    code = code_of { $conn.exec_params(insert, [1]) }
    $conn.exec("rollback to savepoint s")
    $conn.exec_params(insert, [3])
  end
  [code, $conn.exec("delete from items_#{WHO} returning id").column_values(0).map(&:to_i)]
end

def step_failed
  $conn.exec("begin")
  codes = [code_of { $conn.exec("select 1/0") }, code_of { $conn.exec("select 1") }]
  $conn.exec("rollback")
  [*codes, number("select 1")]
end

def step_cursor
  sizes = []
  total = 0
  $conn.transaction do
    $conn.exec("declare c cursor for select i from generate_series(1, 250) i")
    until (rows = $conn.exec("fetch 100 from c").column_values(0)).empty?
      sizes << rows.size
      total += rows.sum(&:to_i)
    end
  end
  [sizes, total]
end

def step_timeout
  $conn.exec("begin; set local statement_timeout = 100")
  local = code_of { $conn.exec("select pg_sleep(5)") }
  $conn.exec("rollback")
  other = connect(options: "-c statement_timeout=100")
  startup = code_of { other.exec("select pg_sleep(5)") }
  other.close
  [local, startup, number("select 1")]
end

def step_ddl
  read = lambda do |conn|
    conn.exec_prepared("shape", []).nfields
  rescue PG::Error => error
    error.result.error_field(PG::Result::PG_DIAG_SQLSTATE)
  end
  sql = "select * from shape_#{WHO}"
  $conn.prepare("shape", sql)
  reads = [read.call($conn)]
  $conn.exec("alter table shape_#{WHO} add column extra text")
  other = connect
  other.prepare("shape", sql)
  reads << read.call(other)
  other.close
  reads + [read.call($conn), read.call($conn)]
end

def step_reconnect
  code = code_of { $conn.exec("select pg_terminate_backend(pg_backend_pid())") }
  $conn.reset if $conn.status == PG::CONNECTION_BAD
  [code, number("select 1")]
end

def step_listen
  $conn.exec("listen news_#{WHO}")
  other = connect
  other.exec_params("select pg_notify($1, $2)", ["news_#{WHO}", "news for #{WHO}"])
  other.close
  heard = nil
  $conn.wait_for_notify(20) { |_channel, _pid, payload| heard = payload }
  heard
end

$stdout.sync = true
ENV.fetch("STEPS").split(",").each do |step|
  saw = respond_to?("step_#{step}", true) ? send("step_#{step}") : "absent"
  puts JSON.generate({ step: step, saw: saw })
end
$conn.close
