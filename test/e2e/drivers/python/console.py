# Runs each statement that is given with one of three drivers and prints, one line for each, its columns and
# how many rows came, or the SQLSTATE of the refusal. Nothing else.
import asyncio
import os
import sys

DRIVER, STATEMENTS = sys.argv[1], sys.argv[2:]
SETTINGS = {name: os.environ["PG" + name.upper()] for name in ("host", "port", "user", "password", "database")}


def shown(names, rows):
    print(",".join(names), len(rows))


def with_cursor(connection, error):
    for text in STATEMENTS:
        try:
            with connection.cursor() as cursor:
                cursor.execute(text)
                if cursor.description:
                    shown([column[0] for column in cursor.description], cursor.fetchall())
                else:
                    print("done")
            connection.commit()
        except error as refused:
            connection.rollback()
            print(getattr(refused, "sqlstate", None) or refused.pgcode)


async def with_asyncpg():
    import asyncpg

    connection = await asyncpg.connect(**{**SETTINGS, "port": int(SETTINGS["port"])})
    for text in STATEMENTS:
        try:
            statement = await connection.prepare(text)
            rows = await statement.fetch()
            names = [attribute.name for attribute in statement.get_attributes()]
            if names:
                shown(names, rows)
            else:
                print("done")
        except asyncpg.PostgresError as refused:
            print(refused.sqlstate)
    await connection.close()


if DRIVER == "asyncpg":
    asyncio.run(with_asyncpg())
elif DRIVER == "psycopg2":
    import psycopg2

    SETTINGS["dbname"] = SETTINGS.pop("database")
    with_cursor(psycopg2.connect(**SETTINGS), psycopg2.Error)
else:
    import psycopg

    SETTINGS["dbname"] = SETTINGS.pop("database")
    with_cursor(psycopg.connect(**SETTINGS), psycopg.Error)
