// pgjdbc: statements prepared by the server after the fifth use, fetch size, batches (rewritten or not),
// CopyManager, savepoints, notifications, cancel. JDBC_OPTIONS has further parameters for its URL. The steps are
// those of ../README.md.

import java.io.ByteArrayInputStream;
import java.io.OutputStream;
import java.math.BigDecimal;
import java.nio.charset.StandardCharsets;
import java.security.MessageDigest;
import java.sql.*;
import java.util.*;
import java.util.concurrent.Callable;
import org.postgresql.PGConnection;
import org.postgresql.copy.CopyManager;

public final class Scenario {
  static final String WHO = System.getenv("WHO");
  static final String TEXT = "caf\u00e9 \u2603 \\ ' \" $1 %s";
  static final String TABLE = "items_" + WHO;
  static Connection conn;

  static Connection connect(String more) throws Exception {
    Map<String, String> env = System.getenv();
    String url = "jdbc:postgresql://" + env.get("PGHOST") + ":" + env.get("PGPORT") + "/" + env.get("PGDATABASE")
        + "?user=" + env.get("PGUSER") + "&password=" + env.get("PGPASSWORD") + "&ApplicationName=e2e%20" + WHO
        + env.getOrDefault("JDBC_OPTIONS", "") + more;
    return DriverManager.getConnection(url);
  }

  interface Act {
    void run() throws Exception;
  }

  static String code(Act act) throws Exception {
    try {
      act.run();
    } catch (SQLException error) {
      return error.getSQLState();
    }
    throw new IllegalStateException("no error came");
  }

  static void execute(String sql) throws SQLException {
    try (Statement statement = conn.createStatement()) {
      statement.execute(sql);
    }
  }

  static void insert(int id) throws SQLException {
    try (PreparedStatement statement = conn.prepareStatement("insert into " + TABLE + " values (?, 'x')")) {
      statement.setInt(1, id);
      statement.executeUpdate();
    }
  }

  static String text(String sql) throws SQLException {
    try (Statement statement = conn.createStatement(); ResultSet rows = statement.executeQuery(sql)) {
      rows.next();
      return rows.getString(1);
    }
  }

  static int number(String sql) throws SQLException {
    return Integer.parseInt(text(sql));
  }

  static Object onConnect() throws Exception {
    return List.of(conn.getMetaData().getUserName(), text("show client_encoding"), text("show application_name"));
  }

  static List<String> shown(ResultSet rows) throws SQLException {
    List<String> texts = new ArrayList<>();
    rows.next();
    for (int i = 1; i <= rows.getMetaData().getColumnCount(); i++) {
      Object value = rows.getObject(i);
      if (value instanceof byte[]) value = Arrays.toString((byte[]) value);
      else if (value instanceof java.sql.Array) value = Arrays.toString((Object[]) ((java.sql.Array) value).getArray());
      texts.add(rows.getMetaData().getColumnTypeName(i).replace("_" + WHO, "") + " " + value);
    }
    return texts;
  }

  static Object types() throws Exception {
    String literals = "select 42::int, 9007199254740993::bigint, 12345678901234567890.123456789::numeric, 'x'::text, "
        + "'\\x0001feff'::bytea, '{\"a\": [1, 2]}'::json, '{\"a\": [1, 2]}'::jsonb, "
        + "'2024-02-03 04:05:06.789+00'::timestamptz, '2024-02-29'::date, 1.5::float8, true, '{1,2,NULL}'::int[], "
        + "array['a', 'b \"c\"'], null::int, '6ba7b810-9dad-11d1-80b4-00c04fd430c8'::uuid, 'fine'::mood_" + WHO;
    List<String> texts;
    try (Statement statement = conn.createStatement(); ResultSet rows = statement.executeQuery(literals)) {
      texts = shown(rows);
    }
    String sql = "select ?::int, ?::bigint, ?::numeric, ?::text, ?::bytea, ?::jsonb, ?::timestamptz, ?::date, "
        + "?::float8, ?::bool, ?::int[], ?::text[], ?::int, ?::uuid, ?::mood_" + WHO;
    // The driver cannot put bytes into the text of a simple query.
    boolean isSimple = System.getenv().getOrDefault("JDBC_OPTIONS", "").contains("simple");
    if (isSimple) sql = sql.replace("?::bytea", "decode(?, 'hex')");
    try (PreparedStatement statement = conn.prepareStatement(sql)) {
      // Often enough to see it unprepared, prepared, and with values in binary.
      for (int round = 0; round < 8; round++) {
        statement.setInt(1, 42);
        statement.setLong(2, 9007199254740993L);
        statement.setBigDecimal(3, new BigDecimal("12345678901234567890.123456789"));
        statement.setString(4, TEXT);
        if (isSimple) statement.setString(5, "0001feff");
        else statement.setBytes(5, new byte[] {0, 1, (byte) 0xfe, (byte) 0xff});
        statement.setString(6, "{\"a\": [1, 2]}");
        statement.setObject(7, java.time.OffsetDateTime.parse("2024-02-03T04:05:06.789Z"));
        statement.setObject(8, java.time.LocalDate.of(2024, 2, 29));
        statement.setDouble(9, 1.5);
        statement.setBoolean(10, true);
        statement.setArray(11, conn.createArrayOf("int4", new Integer[] {1, 2, null}));
        statement.setArray(12, conn.createArrayOf("text", new String[] {"a", "b \"c\""}));
        statement.setNull(13, Types.INTEGER);
        statement.setObject(14, UUID.fromString("6ba7b810-9dad-11d1-80b4-00c04fd430c8"));
        statement.setString(15, "fine");
        try (ResultSet rows = statement.executeQuery()) {
          texts.addAll(shown(rows));
        }
      }
    }
    return texts;
  }

  static Object params() throws Exception {
    List<Object> saw = new ArrayList<>();
    try (PreparedStatement statement = conn.prepareStatement("select ?::text, ?::text")) {
      statement.setString(1, TEXT);
      statement.setNull(2, Types.VARCHAR);
      try (ResultSet rows = statement.executeQuery()) {
        rows.next();
        saw.add(rows.getString(1));
        saw.add(rows.getString(2));
      }
    }
    String sum = "select " + String.join(" + ", Collections.nCopies(100, "?::int"));
    try (PreparedStatement statement = conn.prepareStatement(sum)) {
      for (int i = 1; i <= 100; i++) statement.setInt(i, i);
      try (ResultSet rows = statement.executeQuery()) {
        rows.next();
        saw.add(rows.getInt(1));
      }
    }
    return saw;
  }

  static Object errors() throws Exception {
    insert(9000);
    List<Object> saw = new ArrayList<>();
    saw.add(code(() -> insert(9000)));
    saw.add(code(() -> execute("select * from nowhere")));
    saw.add(code(() -> execute("select 1 / 0")));
    execute("delete from " + TABLE);
    saw.add(number("select 1"));
    return saw;
  }

  static final Map<String, PreparedStatement> statements = new HashMap<>();

  static List<String> twice(int i) throws SQLException {
    List<String> texts = new ArrayList<>();
    for (String name : List.of("one", "two")) {
      PreparedStatement statement = statements.get(name);
      if (statement == null) {
        statement = conn.prepareStatement("select '" + WHO + " ' || ?::text || ' " + name + "'");
        statements.put(name, statement);
      }
      statement.setString(1, "" + i);
      try (ResultSet rows = statement.executeQuery()) {
        rows.next();
        texts.add(rows.getString(1));
      }
    }
    return texts;
  }

  static Object prepared(boolean inTransactions) throws Exception {
    List<String> texts = new ArrayList<>();
    for (int i = 0; i < 20; i++) {
      boolean inside = inTransactions && i % 3 != 2;
      if (inside) conn.setAutoCommit(false);
      texts.addAll(twice(i));
      if (inside) conn.commit();
      conn.setAutoCommit(true);
    }
    return texts;
  }

  static Object pipeline() throws Exception {
    try (PreparedStatement statement = conn.prepareStatement("insert into " + TABLE + " values (?, ?)")) {
      for (int i = 0; i < 10; i++) {
        statement.setInt(1, i);
        statement.setString(2, WHO + " " + i);
        statement.addBatch();
      }
      statement.executeBatch();
    }
    List<String> values = column("delete from " + TABLE + " returning body");
    String failed = code(() -> {
      try (PreparedStatement statement = conn.prepareStatement("insert into " + TABLE + " values (1 / ?::int, 'x')")) {
        for (int divisor : new int[] {1, 0, 2}) {
          statement.setInt(1, divisor);
          statement.addBatch();
        }
        statement.executeBatch();
      }
    });
    execute("delete from " + TABLE);
    return List.of(values, failed, number("select 1"));
  }

  static List<String> column(String sql) throws SQLException {
    List<String> values = new ArrayList<>();
    try (Statement statement = conn.createStatement(); ResultSet rows = statement.executeQuery(sql)) {
      while (rows.next()) values.add(rows.getString(1));
    }
    return values;
  }

  static String hex(MessageDigest digest) {
    return HexFormat.of().formatHex(digest.digest());
  }

  static Object copy() throws Exception {
    CopyManager manager = conn.unwrap(PGConnection.class).getCopyAPI();
    StringBuilder lines = new StringBuilder();
    for (int i = 0; i < 5000; i++) lines.append(i).append('\t').append(WHO).append(" row ").append(i).append('\n');
    byte[] bytes = lines.toString().getBytes(StandardCharsets.UTF_8);
    long count = manager.copyIn("copy " + TABLE + " from stdin", new ByteArrayInputStream(bytes));
    MessageDigest digest = MessageDigest.getInstance("MD5");
    manager.copyOut("copy (select id, body from " + TABLE + " order by id) to stdout", new OutputStream() {
      @Override
      public void write(int b) {
        digest.update((byte) b);
      }

      @Override
      public void write(byte[] data, int start, int length) {
        digest.update(data, start, length);
      }
    });
    ByteArrayInputStream bad = new ByteArrayInputStream("seven\tx\n".getBytes(StandardCharsets.UTF_8));
    String failed = code(() -> manager.copyIn("copy " + TABLE + " from stdin", bad));
    execute("truncate " + TABLE);
    return List.of(count, hex(digest), failed, number("select 1"));
  }

  static Object large() throws Exception {
    MessageDigest digest = MessageDigest.getInstance("MD5");
    int count = 0;
    String sql = "select repeat(chr(97 + i % 26), 100000) from generate_series(0, 199) i";
    try (Statement statement = conn.createStatement(); ResultSet rows = statement.executeQuery(sql)) {
      for (; rows.next(); count++) digest.update(rows.getBytes(1));
    }
    sql = "select length(t), md5(t) from (select ?::text) as given(t)";
    try (PreparedStatement statement = conn.prepareStatement(sql)) {
      statement.setString(1, "x".repeat(20_000_000));
      try (ResultSet rows = statement.executeQuery()) {
        rows.next();
        return List.of(List.of(count, hex(digest)), List.of(rows.getInt(1), rows.getString(2)));
      }
    }
  }

  static Object cancel() throws Exception {
    try (Statement statement = conn.createStatement()) {
      Timer timer = new Timer(true);
      timer.schedule(new TimerTask() {
        @Override
        public void run() {
          try {
            statement.cancel();
          } catch (SQLException error) {
            throw new IllegalStateException(error);
          }
        }
      }, 300);
      String failed = code(() -> statement.execute("select pg_sleep(20)"));
      timer.cancel();
      return List.of(failed, number("select 1"));
    }
  }

  static Object transaction() throws Exception {
    conn.setAutoCommit(false);
    insert(1);
    Set<String> pids = new HashSet<>();
    for (int i = 0; i < 3; i++) pids.add(text("select pg_backend_pid()"));
    conn.commit();
    int committed = number("select count(*) from " + TABLE);
    conn.commit();
    conn.setTransactionIsolation(Connection.TRANSACTION_SERIALIZABLE);
    insert(2);
    conn.rollback();
    conn.setTransactionIsolation(Connection.TRANSACTION_READ_COMMITTED);
    conn.setAutoCommit(true);
    int left = number("select count(*) from " + TABLE);
    execute("delete from " + TABLE);
    return List.of(committed, left, pids.size() == 1);
  }

  static Object savepoints() throws Exception {
    conn.setAutoCommit(false);
    insert(1);
    Savepoint savepoint = conn.setSavepoint("s");
    String failed = code(() -> insert(1));
    conn.rollback(savepoint);
    insert(3);
    conn.commit();
    conn.setAutoCommit(true);
    List<Integer> ids = new ArrayList<>();
    for (String id : column("delete from " + TABLE + " returning id")) ids.add(Integer.valueOf(id));
    return List.of(failed, ids);
  }

  static Object failed() throws Exception {
    conn.setAutoCommit(false);
    String first = code(() -> execute("select 1/0"));
    String second = code(() -> execute("select 1"));
    conn.rollback();
    conn.setAutoCommit(true);
    return List.of(first, second, number("select 1"));
  }

  /** The sizes are those of what Postgres sends at once: the driver does not show them. */
  static Object cursor() throws Exception {
    conn.setAutoCommit(false);
    int total = 0;
    List<Integer> sizes = new ArrayList<>();
    try (Statement statement = conn.createStatement()) {
      statement.setFetchSize(100);
      try (ResultSet rows = statement.executeQuery("select i from generate_series(1, 250) i")) {
        for (int row = 1; rows.next(); row++) {
          total += rows.getInt(1);
          if (row % 100 == 1) sizes.add(0);
          sizes.set(sizes.size() - 1, sizes.get(sizes.size() - 1) + 1);
        }
      }
    }
    conn.commit();
    conn.setAutoCommit(true);
    return List.of(sizes, total);
  }

  static Object timeout() throws Exception {
    conn.setAutoCommit(false);
    execute("set local statement_timeout = 100");
    String local = code(() -> execute("select pg_sleep(5)"));
    conn.rollback();
    conn.setAutoCommit(true);
    try (Connection other = connect("&options=-c%20statement_timeout=100");
        Statement statement = other.createStatement()) {
      String startup = code(() -> statement.execute("select pg_sleep(5)"));
      return List.of(local, startup, number("select 1"));
    }
  }

  static Object read(PreparedStatement statement) {
    try (ResultSet rows = statement.executeQuery()) {
      rows.next();
      rows.getString(rows.getMetaData().getColumnCount());
      return rows.getMetaData().getColumnCount();
    } catch (SQLException error) {
      return error.getSQLState();
    }
  }

  static Object ddl() throws Exception {
    String sql = "select * from shape_" + WHO;
    List<Object> reads = new ArrayList<>();
    try (PreparedStatement mine = conn.prepareStatement(sql)) {
      // From the fifth on it is prepared by the server.
      for (int i = 0; i < 7; i++) reads.add(read(mine));
      reads = new ArrayList<>(reads.subList(6, 7));
      execute("alter table shape_" + WHO + " add column extra text");
      try (Connection other = connect("&prepareThreshold=1"); PreparedStatement theirs = other.prepareStatement(sql)) {
        reads.add(read(theirs));
      }
      reads.add(read(mine));
      reads.add(read(mine));
    }
    return reads;
  }

  static Object reconnect() throws Exception {
    String failed = code(() -> execute("select pg_terminate_backend(pg_backend_pid())"));
    if (conn.isClosed() || !conn.isValid(5)) conn = connect("");
    return List.of(failed, number("select 1"));
  }

  static Object listen() throws Exception {
    execute("listen news_" + WHO);
    try (Connection other = connect(""); Statement statement = other.createStatement()) {
      statement.execute("select pg_notify('news_" + WHO + "', 'news for " + WHO + "')");
    }
    return conn.unwrap(PGConnection.class).getNotifications(20_000)[0].getParameter();
  }

  static String json(Object value) {
    if (value instanceof Collection) {
      List<String> parts = new ArrayList<>();
      for (Object part : (Collection<?>) value) parts.add(json(part));
      return "[" + String.join(",", parts) + "]";
    }
    if (!(value instanceof String)) return String.valueOf(value);
    return "\"" + ((String) value).replace("\\", "\\\\").replace("\"", "\\\"").replace("\n", "\\n") + "\"";
  }

  public static void main(String[] arguments) throws Exception {
    Map<String, Callable<Object>> steps = new HashMap<>();
    steps.put("connect", Scenario::onConnect);
    steps.put("types", Scenario::types);
    steps.put("params", Scenario::params);
    steps.put("errors", Scenario::errors);
    steps.put("prepared", () -> prepared(false));
    steps.put("prepared_tx", () -> prepared(true));
    steps.put("pipeline", Scenario::pipeline);
    steps.put("copy", Scenario::copy);
    steps.put("large", Scenario::large);
    steps.put("cancel", Scenario::cancel);
    steps.put("transaction", Scenario::transaction);
    steps.put("savepoints", Scenario::savepoints);
    steps.put("failed", Scenario::failed);
    steps.put("cursor", Scenario::cursor);
    steps.put("timeout", Scenario::timeout);
    steps.put("ddl", Scenario::ddl);
    steps.put("reconnect", Scenario::reconnect);
    steps.put("listen", Scenario::listen);
    conn = connect("");
    java.io.PrintStream out = new java.io.PrintStream(System.out, true, StandardCharsets.UTF_8);
    for (String step : System.getenv("STEPS").split(",")) {
      Object saw = steps.containsKey(step) ? steps.get(step).call() : "absent";
      out.println("{\"step\": " + json(step) + ", \"saw\": " + json(saw) + "}");
    }
    conn.close();
  }
}
