# What the three Python drivers share: the order of the steps, and values. Must never touch a connection.
import datetime
import decimal
import hashlib
import json
import os
import uuid

WHO = os.environ["WHO"]
TEXT = "caf\u00e9 \u2603 \\ ' \" $1 %s"
MADE = datetime.datetime(2024, 2, 3, 4, 5, 6, 789000, datetime.timezone.utc)
PLAIN = {
    "n": 42,
    "big": 9007199254740993,
    "price": decimal.Decimal("12345678901234567890.123456789"),
    "words": TEXT,
    "bytes": b"\x00\x01\xfe\xff",
    "made": MADE,
    "day": datetime.date(2024, 2, 29),
    "ratio": 1.5,
    "yes": True,
    "list": [1, 2, None],
    "texts": ["a", 'b "c"', None],
    "none": None,
    "id": uuid.UUID("6ba7b810-9dad-11d1-80b4-00c04fd430c8"),
}
LITERALS = f"""select 42::int, 9007199254740993::bigint, 12345678901234567890.123456789::numeric, 'x'::text,
  '\\x0001feff'::bytea, '{{"a": [1, 2]}}'::json, '{{"a": [1, 2]}}'::jsonb,
  '2024-02-03 04:05:06.789+00'::timestamptz, '2024-02-29'::date, 1.5::float8, true, '{{1,2,NULL}}'::int[],
  array['a', 'b "c"'], null::int, '6ba7b810-9dad-11d1-80b4-00c04fd430c8'::uuid, 'fine'::mood_{WHO}"""
ROWS = [(i, f"{WHO} row {i}") for i in range(5000)]
LARGE = "select repeat(chr(97 + i % 26), 100000) from generate_series(0, 199) i"
BIG_SQL = "select length(t), md5(t) from (select $1::text) as given(t)"
BIG = "x" * 20_000_000
COPY_OUT = f"copy (select id, body from items_{WHO} order by id) to stdout"


def shown(values):
    return [repr(bytes(v)) if isinstance(v, memoryview) else repr(v) for v in values]


def md5(pieces):
    digest = hashlib.md5()
    for piece in pieces:
        digest.update(piece if isinstance(piece, (bytes, memoryview)) else piece.encode())
    return digest.hexdigest()


def wanted():
    return os.environ["STEPS"].split(",")


def show(step, saw):
    print(json.dumps({"step": step, "saw": saw}), flush=True)
