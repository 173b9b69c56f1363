"""Retention in a SQLite store: a few thousand rows at a time, so that no ingest waits for long.

Rows are found by their number, which is how they stand in the file; what is deleted frees pages
that later rows fill, so the file does not grow and does not shrink.
"""

import sqlite3
import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Final

_AT_ONCE: Final = 5_000
_GIVE_WAY_S: Final = 0.02
"""SQLite has no queue: who waits looks now and then, and must find the door open."""
_TABLES: Final = ("result_rows", "event_rows", "sample_rows")

Transaction = Callable[[], AbstractContextManager[None]]


def prune(db: sqlite3.Connection, transaction: Transaction, before_s: float) -> int:
    """Delete what was received before a unix time; how many results, events and samples it was."""
    db.execute("DELETE FROM dead_letters WHERE received_s < ?", (before_s,))
    outboxes = db.execute("SELECT id FROM outboxes").fetchall()
    return sum(
        _prune(db, transaction, table, outbox_id, before_s)
        for (outbox_id,) in outboxes
        for table in _TABLES
    )


def _prune(
    db: sqlite3.Connection, transaction: Transaction, table: str, outbox_id: int, before_s: float
) -> int:
    last = f"SELECT seq FROM {table} WHERE outbox_id = ? AND seq > ? ORDER BY seq LIMIT 1 OFFSET ?"  # noqa: S608
    delete = f"DELETE FROM {table} WHERE outbox_id = ? AND received_s < ? AND seq > ?"  # noqa: S608
    deleted = done = 0
    while True:
        with transaction():
            end = db.execute(last, (outbox_id, done, _AT_ONCE - 1)).fetchone()
            upto = "" if end is None else f" AND seq <= {end[0]:d}"
            count = db.execute(delete + upto, (outbox_id, before_s, done)).rowcount
            if table == "result_rows" and count:
                db.execute(
                    "UPDATE outboxes SET results = results - ? WHERE id = ?", (count, outbox_id)
                )
        deleted += count
        if end is None:
            return deleted
        done = end[0]
        if count:
            time.sleep(_GIVE_WAY_S)
