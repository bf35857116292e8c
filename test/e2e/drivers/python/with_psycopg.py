# psycopg 3: prepared statements by the driver's own count and on demand, pipeline mode, named cursors,
# COPY, notifies, cancel. The steps are those of ../README.md.
import threading

import psycopg
from contract import *
from psycopg.types.json import Jsonb


def connect(**more):
    return psycopg.connect(autocommit=True, application_name=f"e2e {WHO}", **more)


conn = connect()
# What is beyond it is closed with DEALLOCATE in SQL.
conn.prepared_max = 2


def one(sql, params=None, c=None, **how):
    return (c or conn).execute(sql, params, **how).fetchone()


def code_of(run):
    try:
        run()
    except psycopg.Error as error:
        return error.sqlstate or type(error).__name__
    raise SystemExit("no error came")


def step_connect():
    return [conn.info.user, conn.info.parameter_status("client_encoding"), one("show application_name")[0]]


def step_types():
    sql = f"""select %(n)s::int, %(big)s::bigint, %(price)s::numeric, %(words)s::text, %(bytes)s::bytea,
      %(json)s::jsonb, %(made)s::timestamptz, %(day)s::date, %(ratio)s::float8, %(yes)s::bool,
      %(list)s::int[], %(texts)s::text[], %(none)s::int, %(id)s::uuid, %(mood)s::mood_{WHO}"""
    given = {**PLAIN, "json": Jsonb({"a": [1, 2]}), "mood": "fine"}
    binary = conn.cursor(binary=True).execute(sql, given).fetchone()
    return shown(one(LITERALS)) + shown(one(sql, given)) + shown(binary)


def step_params():
    sql = "select " + " + ".join(["%s::int"] * 100)
    return [*one("select %s::text, %s::text", (TEXT, None)), one(sql, list(range(1, 101)))[0]]


def step_errors():
    conn.execute(f"insert into items_{WHO} values (9000, 'x')")
    codes = [
        code_of(lambda: conn.execute(f"insert into items_{WHO} values (%s, 'x')", (9000,))),
        code_of(lambda: conn.execute("select * from nowhere")),
        code_of(lambda: conn.execute("select 1 / %s::int", (0,), prepare=True)),
    ]
    conn.execute(f"delete from items_{WHO}")
    return [*codes, one("select 1")[0]]


def twice(i):
    one(f"select {i}", prepare=True)
    return [
        one(f"select '{WHO} ' || %s::text || ' {name}'", (i,), prepare=True)[0] for name in ("one", "two")
    ]


def step_prepared():
    return [text for i in range(20) for text in twice(i)]


def step_prepared_tx():
    texts = []
    for i in range(20):
        if i % 3 == 2:
            texts += twice(i)
            continue
        with conn.transaction():
            texts += twice(i)
    return texts


def step_pipeline():
    with conn.pipeline():
        cursors = [conn.cursor().execute("select %s::text", (f"{WHO} {i}",)) for i in range(10)]
        values = [cursor.fetchone()[0] for cursor in cursors]

    def failing():
        with conn.pipeline():
            for divisor in (1, 0, 2):
                conn.execute("select 1 / %s::int", (divisor,))

    return [values, code_of(failing), one("select 1")[0]]


def step_copy():
    with conn.cursor() as cursor:
        with cursor.copy(f"copy items_{WHO} from stdin") as copy:
            for row in ROWS:
                copy.write_row(row)
        count = cursor.rowcount
        with cursor.copy(COPY_OUT) as copy:
            digest = md5(copy)

        def bad():
            with cursor.copy(f"copy items_{WHO} from stdin") as copy:
                copy.write("seven\tx\n")

        code = code_of(bad)
    conn.execute(f"truncate items_{WHO}")
    return [count, digest, code, one("select 1")[0]]


def step_large():
    rows = conn.execute(LARGE).fetchall()
    return [[len(rows), md5(row[0] for row in rows)], list(one(BIG_SQL.replace("$1", "%s"), (BIG,)))]


def step_cancel():
    timer = threading.Timer(0.3, conn.cancel)
    timer.start()
    code = code_of(lambda: conn.execute("select pg_sleep(20)"))
    timer.join()
    return [code, one("select 1")[0]]


def step_transaction():
    conn.autocommit = False
    conn.execute(f"insert into items_{WHO} values (1, 'kept')")
    pids = {one("select pg_backend_pid()")[0] for _ in range(3)}
    conn.commit()
    committed = one(f"select count(*) from items_{WHO}")[0]
    conn.execute(f"insert into items_{WHO} values (2, 'not kept')")
    conn.rollback()
    conn.autocommit = True
    left = one(f"select count(*) from items_{WHO}")[0]
    conn.execute(f"delete from items_{WHO}")
    return [committed, left, len(pids) == 1]


def step_savepoints():
    def insert(number):
        conn.execute(f"insert into items_{WHO} values (%s, 'x')", (number,))

    def nested():
        with conn.transaction():
            insert(1)

    with conn.transaction():
        insert(1)
        code = code_of(nested)
        insert(3)
    rows = conn.execute(f"delete from items_{WHO} returning id").fetchall()
    return [code, [row[0] for row in rows]]


def step_failed():
    conn.autocommit = False
    codes = [code_of(lambda: conn.execute("select 1/0")), code_of(lambda: conn.execute("select 1"))]
    conn.rollback()
    conn.autocommit = True
    return [*codes, one("select 1")[0]]


def step_cursor():
    sizes, total = [], 0
    with conn.transaction(), conn.cursor(name="c") as cursor:
        cursor.execute("select i from generate_series(1, 250) i")
        while rows := cursor.fetchmany(100):
            sizes.append(len(rows))
            total += sum(row[0] for row in rows)
    return [sizes, total]


def step_timeout():
    with conn.transaction(force_rollback=True):
        conn.execute("set local statement_timeout = 100")

        def nested():
            with conn.transaction():
                conn.execute("select pg_sleep(5)")

        local = code_of(nested)
    with connect(options="-c statement_timeout=100") as other:
        startup = code_of(lambda: other.execute("select pg_sleep(5)"))
    return [local, startup, one("select 1")[0]]


def step_ddl():
    sql = f"select * from shape_{WHO}"

    def read(c):
        try:
            return len(one(sql, c=c, prepare=True))
        except psycopg.Error as error:
            return error.sqlstate

    reads = [read(conn)]
    conn.execute(f"alter table shape_{WHO} add column extra text")
    with connect() as other:
        reads.append(read(other))
    return [*reads, read(conn), read(conn)]


def step_reconnect():
    global conn
    code = code_of(lambda: conn.execute("select pg_terminate_backend(pg_backend_pid())"))
    if conn.broken:
        conn = connect()
    return [code, one("select 1")[0]]


def step_listen():
    conn.execute(f"listen news_{WHO}")
    with connect() as other:
        other.execute("select pg_notify(%s, %s)", (f"news_{WHO}", f"news for {WHO}"))
    return next(conn.notifies()).payload


for step in wanted():
    act = globals().get(f"step_{step}")
    show(step, act() if act else "absent")
conn.close()
