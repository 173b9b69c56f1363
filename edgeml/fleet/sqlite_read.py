"""What is read out of a SQLite store: how far it is, every device, every row."""

import json
import sqlite3
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

from edgeml.fleet.accounting import progress_of
from edgeml.fleet.store import DeviceStatus, Progress
from edgeml.sync.spans import Spans

# CROSS JOIN keeps SQLite from another order of the tables, in which it would sort every row there
# is, in a file of its own, before it gave the first.
RESULTS: Final = (
    "SELECT o.device, o.outbox, r.seq, m.name AS model, m.version AS model_version, "
    "m.digest AS model_digest, r.start_s, r.end_s, r.label, r.score, r.outputs, r.pre_us, "
    "r.invoke_us, r.post_us, r.window, r.extra, r.received_s "
    "FROM outboxes o CROSS JOIN result_rows r ON r.outbox_id = o.id "
    "CROSS JOIN models m ON m.id = r.model_id"
)
SAMPLES: Final = (
    "SELECT o.device, o.outbox, s.seq, m.name AS model, m.version AS model_version, "
    "m.digest AS model_digest, s.start_s, s.end_s, s.label, s.score, s.reason, s.npy, "
    "s.received_s FROM outboxes o CROSS JOIN sample_rows s ON s.outbox_id = o.id "
    "CROSS JOIN models m ON m.id = s.model_id"
)
_GAPS: Final = (
    "SELECT o.device, o.outbox, g.first, g.last, g.reason, g.time_s, g.received_s "
    "FROM outboxes o CROSS JOIN gap_rows g ON g.outbox_id = o.id"
)
_UNACCOUNTED: Final = (
    "SELECT outbox_id, max(last) - sum(last - first + 1) FROM spans GROUP BY outbox_id"
)


def progress(db: sqlite3.Connection, device: str, outbox: str) -> Progress:
    """How far the store is with one outbox."""
    query = "SELECT id FROM outboxes WHERE device = ? AND outbox = ?"
    row = db.execute(query, (device, outbox)).fetchone()
    return progress_of(device, outbox, Spans() if row is None else _spans(db, row[0]))


def current(db: sqlite3.Connection) -> Sequence[Progress]:
    """How far it is with the outbox that each device used last."""
    query = "SELECT id, device, outbox FROM outboxes ORDER BY device, seen_s, id"
    latest = {row["device"]: row for row in db.execute(query)}
    return [
        progress_of(device, row["outbox"], _spans(db, row["id"])) for device, row in latest.items()
    ]


def status(db: sqlite3.Connection) -> Sequence[DeviceStatus]:
    """Every device, by id."""
    outboxes: dict[str, list[sqlite3.Row]] = {}
    for row in db.execute("SELECT * FROM outboxes ORDER BY device, seen_s, id"):
        outboxes.setdefault(row["device"], []).append(row)
    holes: dict[int, int] = dict(db.execute(_UNACCOUNTED).fetchall())
    devices = db.execute("SELECT * FROM devices ORDER BY device").fetchall()
    return [_status(row, outboxes.get(row["device"], []), holes) for row in devices]


def rows(
    db: sqlite3.Connection, query: str, number: str, device: str | None
) -> Iterator[Mapping[str, Any]]:
    """Rows by device, outbox and number, as they stand in the file: there is nothing to sort."""
    where = "" if device is None else "WHERE o.device = ?"
    order = f"ORDER BY o.device, o.outbox, {number}"
    values = () if device is None else (device,)
    for row in db.execute(f"{query} {where} {order}", values):
        yield dict(row)


def gaps(db: sqlite3.Connection, device: str | None) -> Sequence[Mapping[str, Any]]:
    """Every gap record."""
    return list(rows(db, _GAPS, "g.first", device))


def letters(db: sqlite3.Connection) -> Sequence[Mapping[str, Any]]:
    """Every dead letter."""
    query = "SELECT received_s, topic, reason, payload FROM dead_letters ORDER BY id"
    return [dict(row) for row in db.execute(query)]


def _spans(db: sqlite3.Connection, outbox_id: int) -> Spans:
    query = "SELECT first, last FROM spans WHERE outbox_id = ? ORDER BY first"
    return Spans(tuple((row[0], row[1]) for row in db.execute(query, (outbox_id,))))


def _status(
    row: sqlite3.Row, outboxes: Sequence[sqlite3.Row], holes: Mapping[int, int]
) -> DeviceStatus:
    last = outboxes[-1] if outboxes else None
    return DeviceStatus(
        device=row["device"],
        online=bool(row["online"]),
        seen_s=row["seen_s"],
        model=row["model"],
        results=sum(outbox["results"] for outbox in outboxes),
        missing=sum(outbox["missing"] for outbox in outboxes),
        unaccounted=sum(holes.get(outbox["id"], 0) for outbox in outboxes),
        last_result_s=None if last is None else last["last_end_s"],
        last_label=None if last is None else last["last_label"],
        health=json.loads(row["health"]),
        health_s=row["health_s"],
    )
