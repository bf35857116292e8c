# asyncpg: every statement prepared under names that count up, so that two programs use the same names for
# different texts; executemany, cursors, binary COPY, its pool with its reset query. The steps are those of
# ../README.md.
import asyncio
import io
import os

import asyncpg
from contract import *


async def connect(**settings):
    settings["application_name"] = f"e2e {WHO}"
    return await asyncpg.connect(server_settings=settings)


async def code_of(act):
    try:
        await act
    except asyncpg.PostgresError as error:
        return error.sqlstate
    except Exception as error:
        return type(error).__name__
    raise SystemExit("no error came")


class Program:
    async def connect(self):
        self.conn = await connect()
        settings = self.conn.get_settings()
        return [
            await self.conn.fetchval("select current_user"),
            settings.client_encoding,
            await self.conn.fetchval("show application_name"),
        ]

    async def types(self):
        sql = f"""select $1::int, $2::bigint, $3::numeric, $4::text, $5::bytea, $6::jsonb, $7::timestamptz,
          $8::date, $9::float8, $10::bool, $11::int[], $12::text[], $13::int, $14::uuid, $15::mood_{WHO}"""
        given = [*PLAIN.values(), "fine"]
        given.insert(5, '{"a": [1, 2]}')
        return shown(await self.conn.fetchrow(LITERALS)) + shown(await self.conn.fetchrow(sql, *given))

    async def params(self):
        sql = "select " + " + ".join(f"${i}::int" for i in range(1, 101))
        row = await self.conn.fetchrow("select $1::text, $2::text", TEXT, None)
        return [*row, await self.conn.fetchval(sql, *range(1, 101))]

    async def errors(self):
        insert = f"insert into items_{WHO} values ($1, 'x')"
        await self.conn.execute(insert, 9000)
        codes = [
            await code_of(self.conn.execute(insert, 9000)),
            await code_of(self.conn.fetch("select * from nowhere")),
            await code_of(self.conn.fetch("select 1 / $1::int", 0)),
        ]
        await self.conn.execute(f"delete from items_{WHO}")
        return [*codes, await self.conn.fetchval("select 1")]

    async def twice(self, i):
        if not hasattr(self, "statements"):
            texts = [f"select '{WHO} ' || $1::text || ' {name}'" for name in ("one", "two")]
            self.statements = [await self.conn.prepare(text) for text in texts]
        return [await statement.fetchval(str(i)) for statement in self.statements]

    async def prepared(self):
        return [text for i in range(20) for text in await self.twice(i)]

    async def prepared_tx(self):
        texts = []
        for i in range(20):
            if i % 3 == 2:
                texts += await self.twice(i)
                continue
            async with self.conn.transaction():
                texts += await self.twice(i)
        return texts

    async def pipeline(self):
        insert = f"insert into items_{WHO} values ($1, $2)"
        await self.conn.executemany(insert, [(i, f"{WHO} {i}") for i in range(10)])
        rows = await self.conn.fetch(f"delete from items_{WHO} returning body")
        divide = f"insert into items_{WHO} values (1 / $1::int, 'x')"
        code = await code_of(self.conn.executemany(divide, [(1,), (0,), (2,)]))
        left = await self.conn.fetchval(f"select count(*) from items_{WHO}")
        return [[row[0] for row in rows], code, left + 1]

    async def copy(self):
        status = await self.conn.copy_records_to_table(f"items_{WHO}", records=ROWS)
        out = io.BytesIO()
        await self.conn.copy_from_query(f"select id, body from items_{WHO} order by id", output=out)
        bad = io.BytesIO(b"seven\tx\n")
        code = await code_of(self.conn.copy_to_table(f"items_{WHO}", source=bad))
        await self.conn.execute(f"truncate items_{WHO}")
        count = int(status.split()[1])
        return [count, md5([out.getvalue()]), code, await self.conn.fetchval("select 1")]

    async def large(self):
        rows = await self.conn.fetch(LARGE)
        parameter = await self.conn.fetchrow(BIG_SQL, BIG)
        return [[len(rows), md5(row[0] for row in rows)], list(parameter)]

    async def cancel(self):
        code = await code_of(self.conn.fetch("select pg_sleep(20)", timeout=0.3))
        return [code, await self.conn.fetchval("select 1")]

    async def transaction(self):
        table = f"items_{WHO}"
        async with self.conn.transaction():
            await self.conn.execute(f"insert into {table} values (1, 'kept')")
            pids = {await self.conn.fetchval("select pg_backend_pid()") for _ in range(3)}
        committed = await self.conn.fetchval(f"select count(*) from {table}")
        transaction = self.conn.transaction(isolation="serializable")
        await transaction.start()
        await self.conn.execute(f"insert into {table} values (2, 'not kept')")
        await transaction.rollback()
        left = await self.conn.fetchval(f"select count(*) from {table}")
        await self.conn.execute(f"delete from {table}")
        return [committed, left, len(pids) == 1]

    async def savepoints(self):
        insert = f"insert into items_{WHO} values ($1, 'x')"

        async def nested():
            async with self.conn.transaction():
                await self.conn.execute(insert, 1)

        async with self.conn.transaction():
            await self.conn.execute(insert, 1)
            code = await code_of(nested())
            await self.conn.execute(insert, 3)
        rows = await self.conn.fetch(f"delete from items_{WHO} returning id")
        return [code, [row[0] for row in rows]]

    async def failed(self):
        transaction = self.conn.transaction()
        await transaction.start()
        codes = [await code_of(self.conn.fetch("select 1/0")), await code_of(self.conn.fetch("select 1"))]
        await transaction.rollback()
        return [*codes, await self.conn.fetchval("select 1")]

    async def cursor(self):
        sizes, total = [], 0
        async with self.conn.transaction():
            cursor = await self.conn.cursor("select i from generate_series(1, $1::int) i", 250)
            while rows := await cursor.fetch(100):
                sizes.append(len(rows))
                total += sum(row[0] for row in rows)
        return [sizes, total]

    async def pool(self):
        async with asyncpg.create_pool(min_size=1, max_size=2) as pool:

            async def work(number):
                seen = 0
                for _ in range(10):
                    async with pool.acquire() as conn, conn.transaction():
                        seen += await conn.fetchval("select $1::int", number)
                return seen

            return sum(await asyncio.gather(*(work(number) for number in range(4))))

    async def timeout(self):
        transaction = self.conn.transaction()
        await transaction.start()
        await self.conn.execute("set local statement_timeout = 100")
        local = await code_of(self.conn.fetch("select pg_sleep(5)"))
        await transaction.rollback()
        other = await connect(statement_timeout="100")
        startup = await code_of(other.fetch("select pg_sleep(5)"))
        await other.close()
        return [local, startup, await self.conn.fetchval("select 1")]

    async def ddl(self):
        sql = f"select * from shape_{WHO}"

        async def read(conn):
            try:
                return len(await conn.fetchrow(sql))
            except asyncpg.PostgresError as error:
                return error.sqlstate

        reads = [await read(self.conn)]
        await self.conn.execute(f"alter table shape_{WHO} add column extra text")
        other = await connect()
        reads.append(await read(other))
        await other.close()
        return [*reads, await read(self.conn), await read(self.conn)]

    async def reconnect(self):
        code = await code_of(self.conn.fetch("select pg_terminate_backend(pg_backend_pid())"))
        if self.conn.is_closed():
            self.conn = await connect()
        return [code, await self.conn.fetchval("select 1")]

    async def listen(self):
        heard = asyncio.get_running_loop().create_future()
        await self.conn.add_listener(f"news_{WHO}", lambda *news: heard.set_result(news[3]))
        other = await connect()
        await other.execute("select pg_notify($1, $2)", f"news_{WHO}", f"news for {WHO}")
        await other.close()
        return await heard


async def main():
    program = Program()
    for step in wanted():
        act = getattr(program, step, None)
        show(step, await act() if act else "absent")
    await program.conn.close()


asyncio.run(main())
