"""Retention in a PostgreSQL store: a day that is old enough goes as a whole.

Dropping a partition costs the same whether it holds a thousand rows or a
billion. Only the day through which the limit runs is deleted row by row;
`edgeml fleet prune` puts the limit at midnight, so that there is none.
"""

from collections import Counter
from typing import Any, Final

from psycopg import Connection, errors, sql

from edgeml.errors import StoreError
from edgeml.fleet.postgres_schema import (
    DAY_S,
    PARTITIONED,
    SCHEMA,
    day_of,
    partition_name,
    partitions,
)

_PATIENCE: Final = b"SET LOCAL lock_timeout = '3s'"


def prune(db: Connection[Any], where: str, before_s: float) -> int:
    """Delete what was received before a unix time; how many results, events and samples there were.

    Raises:
        StoreError: somebody has been reading a day that is to go for too long.
        psycopg.Error: the server failed.
    """
    db.execute("DELETE FROM edgeml.dead_letters WHERE received_s < %s", (before_s,))
    if before_s <= 0:
        return 0
    rows = 0
    for table in PARTITIONED:
        border = partition_name(table, day_of(before_s))
        for name in partitions(db, table):
            # Names of one length: their order is that of the days.
            if name < border:
                rows += _drop(db, where, table, name)
            elif name == border and before_s % DAY_S:
                rows += _delete(db, table, name, before_s)
    return rows


def _drop(db: Connection[Any], where: str, table: str, name: str) -> int:
    part = sql.Identifier(SCHEMA, name)
    try:
        with db.transaction():
            db.execute(_PATIENCE)
            db.execute(sql.SQL("LOCK TABLE {} IN SHARE MODE").format(part))
            count = sql.SQL("SELECT outbox_id, count(*) FROM {} GROUP BY outbox_id").format(part)
            counts = Counter(dict(db.execute(count).fetchall()))
            _take_off(db, table, counts)
            db.execute(sql.SQL("DROP TABLE {}").format(part))
    except errors.LockNotAvailable as exc:
        # Who waits for longer makes every ingest wait behind.
        raise StoreError(
            f"{where}: {name} is being read, by an export or a backup; prune again when it is over"
        ) from exc
    return counts.total()


def _delete(db: Connection[Any], table: str, name: str, before_s: float) -> int:
    delete = sql.SQL("DELETE FROM {} WHERE received_s < %s RETURNING outbox_id").format(
        sql.Identifier(SCHEMA, name)
    )
    with db.transaction():
        counts = Counter(row[0] for row in db.execute(delete, (before_s,)))
        _take_off(db, table, counts)
    return counts.total()


def _take_off(db: Connection[Any], table: str, counts: "Counter[int]") -> None:
    if table != "result_rows" or not counts:
        return
    outboxes = sorted(counts)
    db.execute(
        "SELECT id FROM edgeml.outboxes WHERE id = ANY(%s) ORDER BY id FOR UPDATE", (outboxes,)
    )
    db.execute(
        "UPDATE edgeml.outboxes o SET results = o.results - n.gone "
        "FROM unnest(%s::bigint[], %s::bigint[]) AS n(id, gone) WHERE o.id = n.id",
        (outboxes, [counts[outbox] for outbox in outboxes]),
    )
