"""What is read out of a PostgreSQL store: how far it is, every device, every row."""

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

from psycopg import Connection, IsolationLevel, sql
from psycopg.rows import dict_row

from edgeml.fleet.accounting import progress_of, unaccounted
from edgeml.fleet.store import DeviceStatus, Progress
from edgeml.sync.spans import Spans

_ROWS_AT_ONCE: Final = 2_000
_RESULTS: Final = (
    "SELECT r.seq, m.name AS model, m.version AS model_version, m.digest AS model_digest, "
    "r.start_s, r.end_s, r.label, r.score, r.outputs, r.pre_us, r.invoke_us, r.post_us, "
    'r."window", r.extra::text AS extra, r.received_s '
    "FROM edgeml.result_rows r JOIN edgeml.models m ON m.id = r.model_id "
    "WHERE r.outbox_id = %s ORDER BY r.seq"
)
_SAMPLES: Final = (
    "SELECT s.seq, m.name AS model, m.version AS model_version, m.digest AS model_digest, "
    "s.start_s, s.end_s, s.label, s.score, s.reason, s.npy, s.received_s "
    "FROM edgeml.sample_rows s JOIN edgeml.models m ON m.id = s.model_id "
    "WHERE s.outbox_id = %s ORDER BY s.seq"
)


def spans_of(mark: int, above: Sequence[int]) -> Spans:
    """What an outbox accounts for, from its row."""
    beyond = tuple(zip(above[::2], above[1::2], strict=True))
    return Spans(((1, mark), *beyond) if mark else beyond)


def progress(db: Connection[Any], device: str, outbox: str) -> Progress:
    """How far the store is with one outbox."""
    query = "SELECT mark, above FROM edgeml.outboxes WHERE device = %s AND outbox = %s"
    row = db.execute(query, (device, outbox)).fetchone()
    return progress_of(device, outbox, Spans() if row is None else spans_of(*row))


def current(db: Connection[Any]) -> Sequence[Progress]:
    """How far it is with the outbox that each device used last."""
    query = (
        "SELECT DISTINCT ON (device) device, outbox, mark, above FROM edgeml.outboxes "
        "WHERE seen_s >= 0 ORDER BY device, seen_s DESC, id DESC"
    )
    return [
        progress_of(device, outbox, spans_of(mark, above))
        for device, outbox, mark, above in db.execute(query)
    ]


def status(db: Connection[Any]) -> Sequence[DeviceStatus]:
    """Every device, by id."""
    query = "SELECT * FROM edgeml.outboxes WHERE seen_s >= 0 ORDER BY device, seen_s, id"
    with db.cursor(row_factory=dict_row) as cursor:
        outboxes: dict[str, list[dict[str, Any]]] = {}
        for row in cursor.execute(query):
            outboxes.setdefault(row["device"], []).append(row)
        devices = {
            row["device"]: row
            for row in cursor.execute("SELECT * FROM edgeml.devices WHERE seen_s >= 0")
        }
    names = sorted(devices.keys() | outboxes.keys())
    return [_status(name, devices.get(name, {}), outboxes.get(name, [])) for name in names]


def results(db: Connection[Any], device: str | None) -> Iterator[Mapping[str, Any]]:
    """Every result as a flat row, all of one moment, without ever holding many of them."""
    for row in _rows(db, device, _RESULTS):
        row["outputs"] = json.dumps(row["outputs"])
        yield row


def samples(db: Connection[Any], device: str | None) -> Iterator[Mapping[str, Any]]:
    """Every sample, in the same way."""
    for row in _rows(db, device, _SAMPLES):
        yield {**row, "npy": bytes(row["npy"])}


def _rows(db: Connection[Any], device: str | None, of_outbox: str) -> Iterator[dict[str, Any]]:
    where = sql.SQL("" if device is None else "WHERE device = %s")
    query = sql.SQL("SELECT id, device, outbox FROM edgeml.outboxes {} ORDER BY {}").format(
        where, sql.SQL('device COLLATE "C", outbox COLLATE "C"')
    )
    db.isolation_level = IsolationLevel.REPEATABLE_READ
    with db.transaction():
        outboxes = db.execute(query, () if device is None else (device,)).fetchall()
        for outbox_id, name, outbox in outboxes:
            with db.cursor("results", row_factory=dict_row) as cursor:
                cursor.itersize = _ROWS_AT_ONCE
                for row in cursor.execute(of_outbox.encode(), (outbox_id,)):
                    yield {"device": name, "outbox": outbox, **row}


def gaps(db: Connection[Any], device: str | None) -> Sequence[Mapping[str, Any]]:
    """Every gap record."""
    where = sql.SQL("" if device is None else "WHERE device = %s")
    query = sql.SQL(
        'SELECT * FROM edgeml.gaps {} ORDER BY device COLLATE "C", outbox COLLATE "C", first'
    ).format(where)
    with db.cursor(row_factory=dict_row) as cursor:
        return cursor.execute(query, () if device is None else (device,)).fetchall()


def letters(db: Connection[Any]) -> Sequence[Mapping[str, Any]]:
    """Every dead letter."""
    query = "SELECT received_s, topic, reason, payload FROM edgeml.dead_letters ORDER BY id"
    with db.cursor(row_factory=dict_row) as cursor:
        return cursor.execute(query).fetchall()


def _status(
    device: str, said: Mapping[str, Any], outboxes: Sequence[Mapping[str, Any]]
) -> DeviceStatus:
    last = outboxes[-1] if outboxes else None
    return DeviceStatus(
        device=device,
        online=bool(said.get("online", False)),
        seen_s=max(said.get("seen_s", 0.0), *(row["seen_s"] for row in outboxes), 0.0),
        model=said.get("model"),
        results=sum(row["results"] for row in outboxes),
        missing=sum(row["missing"] for row in outboxes),
        unaccounted=sum(unaccounted(spans_of(row["mark"], row["above"])) for row in outboxes),
        last_result_s=None if last is None else last["last_end_s"],
        last_label=None if last is None else last["last_label"],
        health=said.get("health", {}),
        health_s=said.get("health_s"),
    )
