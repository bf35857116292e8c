# psycopg2: values are put into the text by the driver, so every statement is a simple query; named cursors,
# COPY through files, notifies, cancel. The steps are those of ../README.md.
import io
import threading

import psycopg2
from psycopg2.extras import Json, register_uuid
from contract import *

register_uuid()


def connect(**more):
    made = psycopg2.connect(application_name=f"e2e {WHO}", **more)
    made.autocommit = True
    return made


conn = connect()


def run(sql, params=None, c=None):
    cursor = (c or conn).cursor()
    cursor.execute(sql, params)
    return cursor


def one(sql, params=None, c=None):
    return run(sql, params, c).fetchone()


def code_of(act):
    try:
        act()
    except psycopg2.Error as error:
        return error.pgcode or type(error).__name__
    raise SystemExit("no error came")


def step_connect():
    return [conn.info.user, conn.info.parameter_status("client_encoding"), one("show application_name")[0]]


def step_types():
    sql = f"""select %(n)s::int, %(big)s::bigint, %(price)s::numeric, %(words)s::text, %(bytes)s::bytea,
      %(json)s::jsonb, %(made)s::timestamptz, %(day)s::date, %(ratio)s::float8, %(yes)s::bool,
      %(list)s::int[], %(texts)s::text[], %(none)s::int, %(id)s::uuid, %(mood)s::mood_{WHO}"""
    return shown(one(LITERALS)) + shown(one(sql, {**PLAIN, "json": Json({"a": [1, 2]}), "mood": "fine"}))


def step_params():
    sql = "select " + " + ".join(["%s::int"] * 100)
    return [*one("select %s::text, %s::text", (TEXT, None)), one(sql, list(range(1, 101)))[0]]


def step_errors():
    run(f"insert into items_{WHO} values (9000, 'x')")
    codes = [
        code_of(lambda: run(f"insert into items_{WHO} values (%s, 'x')", (9000,))),
        code_of(lambda: run("select * from nowhere")),
        code_of(lambda: run("select 1 / %s::int", (0,))),
    ]
    run(f"delete from items_{WHO}")
    return [*codes, one("select 1")[0]]


def step_copy():
    with conn.cursor() as cursor:
        text = "".join(f"{number}\t{body}\n" for number, body in ROWS)
        cursor.copy_expert(f"copy items_{WHO} from stdin", io.StringIO(text))
        count = cursor.rowcount
        out = io.StringIO()
        cursor.copy_expert(COPY_OUT, out)
        bad = io.StringIO("seven\tx\n")
        code = code_of(lambda: cursor.copy_expert(f"copy items_{WHO} from stdin", bad))
        cursor.execute(f"truncate items_{WHO}")
    return [count, md5([out.getvalue()]), code, one("select 1")[0]]


def step_large():
    rows = run(LARGE).fetchall()
    return [[len(rows), md5(row[0] for row in rows)], list(one(BIG_SQL.replace("$1", "%s"), (BIG,)))]


def step_cancel():
    timer = threading.Timer(0.3, conn.cancel)
    timer.start()
    code = code_of(lambda: run("select pg_sleep(20)"))
    timer.join()
    return [code, one("select 1")[0]]


def step_transaction():
    conn.autocommit = False
    run(f"insert into items_{WHO} values (1, 'kept')")
    pids = {one("select pg_backend_pid()")[0] for _ in range(3)}
    conn.commit()
    committed = one(f"select count(*) from items_{WHO}")[0]
    run(f"insert into items_{WHO} values (2, 'not kept')")
    conn.rollback()
    conn.autocommit = True
    left = one(f"select count(*) from items_{WHO}")[0]
    run(f"delete from items_{WHO}")
    return [committed, left, len(pids) == 1]


def step_savepoints():
    conn.autocommit = False
    run(f"insert into items_{WHO} values (1, 'x')")
    run("savepoint s")
    code = code_of(lambda: run(f"insert into items_{WHO} values (1, 'x')"))
    run("rollback to savepoint s")
    run(f"insert into items_{WHO} values (3, 'x')")
    conn.commit()
    conn.autocommit = True
    return [code, [row[0] for row in run(f"delete from items_{WHO} returning id").fetchall()]]


def step_failed():
    conn.autocommit = False
    codes = [code_of(lambda: run("select 1/0")), code_of(lambda: run("select 1"))]
    conn.rollback()
    conn.autocommit = True
    return [*codes, one("select 1")[0]]


def step_cursor():
    sizes, total = [], 0
    conn.autocommit = False
    with conn.cursor(name="c") as cursor:
        cursor.execute("select i from generate_series(1, 250) i")
        while rows := cursor.fetchmany(100):
            sizes.append(len(rows))
            total += sum(row[0] for row in rows)
    conn.commit()
    conn.autocommit = True
    return [sizes, total]


def step_timeout():
    conn.autocommit = False
    run("set local statement_timeout = 100")
    local = code_of(lambda: run("select pg_sleep(5)"))
    conn.rollback()
    conn.autocommit = True
    other = connect(options="-c statement_timeout=100")
    startup = code_of(lambda: run("select pg_sleep(5)", c=other))
    other.close()
    return [local, startup, one("select 1")[0]]


def step_ddl():
    sql = f"select * from shape_{WHO}"
    reads = [len(one(sql))]
    run(f"alter table shape_{WHO} add column extra text")
    other = connect()
    reads.append(len(one(sql, c=other)))
    other.close()
    return [*reads, len(one(sql)), len(one(sql))]


def step_reconnect():
    global conn
    code = code_of(lambda: run("select pg_terminate_backend(pg_backend_pid())"))
    if conn.closed:
        conn = connect()
    return [code, one("select 1")[0]]


def step_listen():
    run(f"listen news_{WHO}")
    other = connect()
    run("select pg_notify(%s, %s)", (f"news_{WHO}", f"news for {WHO}"), other)
    other.close()
    while not conn.notifies:
        conn.poll()
    return conn.notifies.pop().payload


for step in wanted():
    act = globals().get(f"step_{step}")
    show(step, act() if act else "absent")
conn.close()
