"""The fleet's store in one SQLite file: the default, enough for thousands of devices.

The primary key of a result is (device, outbox, seq). Beside the rows stands,
for each outbox, which numbers are accounted for; that record decides what is
new, so results that were deleted after their retention do not come back, and
a row that was declared lost stays lost.
"""

import json
import sqlite3
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

from edgeml.errors import StoreError
from edgeml.fleet.sqlite_schema import migrate
from edgeml.fleet.store import (
    Committed,
    Delivered,
    DeviceStatus,
    Intake,
    Progress,
    UnstorableError,
)
from edgeml.result import ModelRef
from edgeml.sync.batches import GAP, EventRow, ResultRow
from edgeml.sync.messages import State
from edgeml.sync.spans import Spans

_BUSY_TIMEOUT_S: Final = 30.0
_RESULT_COLUMNS: Final = (
    "device, outbox, seq, model, model_version, model_digest, start_s, end_s, label, score, "
    "outputs, pre_us, invoke_us, post_us, window, extra, received_s"
)


class SQLiteStore:
    """A store in a file; several ingests may share it.

    Args:
        path: the file; made where it does not exist.

    Raises:
        StoreError: it cannot be opened, or a later edgeml made it.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
        except OSError as exc:
            raise StoreError(f"{path}: the store cannot be made: {exc}") from exc
        with self._translated():
            self._db = sqlite3.connect(
                path, timeout=_BUSY_TIMEOUT_S, isolation_level=None, check_same_thread=False
            )
            self._db.row_factory = sqlite3.Row
            self._db.execute("PRAGMA journal_mode=WAL")
            self._db.execute("PRAGMA synchronous=FULL")
            self._db.execute("PRAGMA journal_size_limit=67108864")
            migrate(self._db, path)

    def close(self) -> None:
        """Close the file."""
        self._db.close()

    def commit(self, intake: Intake, received_s: float) -> Committed:
        """Store everything of an intake in one durable transaction.

        Raises:
            UnstorableError: something in it will never be accepted; nothing was stored.
            StoreError: the store cannot take it now, for example because the disk is full.
        """
        with self._translated(), self._transaction():
            new = known = 0
            touched: dict[tuple[str, str], Progress] = {}
            for delivered in intake.batches:
                progress, fresh, stale = self._take(delivered, received_s)
                touched[delivered.device, delivered.batch.outbox] = progress
                new, known = new + fresh, known + stale
            for state in intake.states:
                self._note_state(state, received_s)
            for device, health in intake.healths:
                self._note_health(device, health, received_s)
            self._db.executemany(
                "INSERT INTO dead_letters (received_s, topic, reason, payload) VALUES (?, ?, ?, ?)",
                [
                    (received_s, letter.topic, letter.reason, letter.payload)
                    for letter in intake.letters
                ],
            )
        return Committed(tuple(touched.values()), new, known)

    def progress(self, device: str, outbox: str) -> Progress:
        """How far the store is with one outbox; mark 0 for one it never heard of."""
        with self._translated():
            query = "SELECT id FROM outboxes WHERE device = ? AND outbox = ?"
            row = self._db.execute(query, (device, outbox)).fetchone()
            spans = Spans() if row is None else self._spans(row["id"])
        return _progress(device, outbox, spans)

    def current(self) -> Sequence[Progress]:
        """How far it is with the outbox that each device used last."""
        query = "SELECT id, device, outbox FROM outboxes ORDER BY device, seen_s, id"
        with self._translated():
            latest = {row["device"]: row for row in self._db.execute(query)}
            return [
                _progress(device, row["outbox"], self._spans(row["id"]))
                for device, row in latest.items()
            ]

    def status(self) -> Sequence[DeviceStatus]:
        """Every device, by id."""
        with self._translated():
            rows = self._db.execute("SELECT * FROM devices ORDER BY device").fetchall()
            return [self._status(row) for row in rows]

    def results(self, device: str | None = None) -> Iterator[Mapping[str, Any]]:
        """Every result, by device, outbox and number, as flat rows for an export."""
        where = "" if device is None else "WHERE device = ?"
        query = f"SELECT {_RESULT_COLUMNS} FROM results {where} ORDER BY device, outbox, seq"  # noqa: S608
        with self._translated():
            for row in self._db.execute(query, () if device is None else (device,)):
                yield dict(row)

    def gaps(self, device: str | None = None) -> Sequence[Mapping[str, Any]]:
        """Every gap record: device, outbox, first, last, reason, time_s."""
        where = "" if device is None else "WHERE device = ?"
        query = f"SELECT * FROM gaps {where} ORDER BY device, outbox, first"  # noqa: S608
        with self._translated():
            return [
                dict(row) for row in self._db.execute(query, () if device is None else (device,))
            ]

    def letters(self) -> Sequence[Mapping[str, Any]]:
        """Every dead letter: received_s, topic, reason, payload."""
        query = "SELECT received_s, topic, reason, payload FROM dead_letters ORDER BY id"
        with self._translated():
            return [dict(row) for row in self._db.execute(query)]

    def prune(self, before_s: float) -> int:
        """Delete what was received before a unix time; how many results and events there were."""
        rows = 0
        with self._translated():
            self._db.execute("DELETE FROM dead_letters WHERE received_s < ?", (before_s,))
            outboxes = self._db.execute("SELECT id FROM outboxes").fetchall()
            # One outbox at a time, so that an ingest on the same store never waits for long.
            for (outbox_id,) in outboxes:
                with self._transaction():
                    for table in ("result_rows", "event_rows"):
                        query = f"DELETE FROM {table} WHERE outbox_id = ? AND received_s < ?"  # noqa: S608
                        rows += self._db.execute(query, (outbox_id, before_s)).rowcount
        return rows

    def _take(self, delivered: Delivered, received_s: float) -> tuple[Progress, int, int]:
        batch = delivered.batch
        outbox_id = self._outbox_id(delivered.device, batch.outbox, received_s)
        before = self._spans(outbox_id)
        spans = batch.spans
        results: Sequence[ResultRow] = batch.results
        events: Sequence[EventRow] = batch.events
        if spans.minus(before) != spans:
            results = [row for row in results if row.seq not in before]
            events = [row for row in events if not before.covers(row.seq, row.last)]
        if results and batch.model is not None:
            self._insert_results(outbox_id, batch.model, results, received_s)
        for row in events:
            self._insert_event(outbox_id, row, before, received_s)
        after = before.union(spans)
        self._replace_spans(outbox_id, before, after)
        self._seen(delivered.device, received_s)
        fresh = len(results) + len(events)
        stale = len(batch.results) + len(batch.events) - fresh
        return _progress(delivered.device, batch.outbox, after), fresh, stale

    def _insert_results(
        self, outbox_id: int, model: ModelRef, rows: Sequence[ResultRow], received_s: float
    ) -> None:
        model_id = self._model_id(model)
        self._db.executemany(
            "INSERT INTO result_rows VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?) "
            "ON CONFLICT (outbox_id, seq) DO NOTHING",
            [
                (
                    outbox_id,
                    row.seq,
                    model_id,
                    received_s,
                    row.start_s,
                    row.end_s,
                    row.label,
                    row.score,
                    json.dumps(row.outputs),
                    row.pre_us,
                    row.invoke_us,
                    row.post_us,
                    row.window,
                    None if row.extra is None else json.dumps(row.extra),
                )
                for row in rows
            ],
        )

    def _insert_event(
        self, outbox_id: int, row: EventRow, before: Spans, received_s: float
    ) -> None:
        if row.kind != GAP:
            self._db.execute(
                "INSERT INTO event_rows VALUES (?, ?, ?, ?, ?, ?) "
                "ON CONFLICT (outbox_id, seq) DO NOTHING",
                (outbox_id, row.seq, received_s, row.time_s, row.kind, json.dumps(row.fields)),
            )
            return
        reason = str(row.fields.get("reason", ""))
        for first, last in Spans(((row.seq, row.last),)).minus(before).ranges:
            self._db.execute(
                "INSERT INTO gap_rows VALUES (?, ?, ?, ?, ?, ?) "
                "ON CONFLICT (outbox_id, first) DO NOTHING",
                (outbox_id, first, last, received_s, row.time_s, reason),
            )

    def _outbox_id(self, device: str, outbox: str, received_s: float) -> int:
        self._db.execute(
            "INSERT INTO outboxes (device, outbox, seen_s) VALUES (?, ?, ?) "
            "ON CONFLICT (device, outbox) DO UPDATE SET seen_s = max(seen_s, excluded.seen_s)",
            (device, outbox, received_s),
        )
        query = "SELECT id FROM outboxes WHERE device = ? AND outbox = ?"
        return int(self._db.execute(query, (device, outbox)).fetchone()[0])

    def _model_id(self, model: ModelRef) -> int:
        key = (model.name, model.version, model.digest)
        query = "SELECT id FROM models WHERE name = ? AND version = ? AND digest = ?"
        row = self._db.execute(query, key).fetchone()
        if row is None:
            self._db.execute("INSERT INTO models (name, version, digest) VALUES (?, ?, ?)", key)
            row = self._db.execute(query, key).fetchone()
        return int(row[0])

    def _spans(self, outbox_id: int) -> Spans:
        query = "SELECT first, last FROM spans WHERE outbox_id = ? ORDER BY first"
        return Spans(tuple((row[0], row[1]) for row in self._db.execute(query, (outbox_id,))))

    def _replace_spans(self, outbox_id: int, before: Spans, after: Spans) -> None:
        old, new = set(before.ranges), set(after.ranges)
        self._db.executemany(
            "DELETE FROM spans WHERE outbox_id = ? AND first = ?",
            [(outbox_id, first) for first, _ in old - new],
        )
        self._db.executemany(
            "INSERT INTO spans VALUES (?, ?, ?)",
            [(outbox_id, first, last) for first, last in new - old],
        )

    def _seen(self, device: str, received_s: float) -> None:
        self._db.execute(
            "INSERT INTO devices (device, seen_s) VALUES (?, ?) "
            "ON CONFLICT (device) DO UPDATE SET seen_s = max(seen_s, excluded.seen_s)",
            (device, received_s),
        )

    def _note_state(self, state: State, received_s: float) -> None:
        self._seen(state.device, received_s)
        self._outbox_id(state.device, state.outbox, received_s)
        # A will or a retained birth of an older session must not hide a newer one.
        known = self._db.execute(
            "SELECT outbox, boots, connections FROM devices WHERE device = ?", (state.device,)
        ).fetchone()
        if known["outbox"] == state.outbox and state.epoch < (known["boots"], known["connections"]):
            return
        model = None if state.model is None else f"{state.model.name}@{state.model.version}"
        self._db.execute(
            "UPDATE devices SET online = ?, outbox = ?, boots = ?, connections = ?, state_s = ?, "
            "version = ?, model = coalesce(?, model) WHERE device = ?",
            (
                state.online,
                state.outbox,
                *state.epoch,
                state.time_s,
                state.version,
                model,
                state.device,
            ),
        )

    def _note_health(self, device: str, health: Mapping[str, Any], received_s: float) -> None:
        self._seen(device, received_s)
        self._db.execute(
            "UPDATE devices SET health = ? WHERE device = ?", (json.dumps(health), device)
        )

    def _status(self, row: sqlite3.Row) -> DeviceStatus:
        device = row["device"]
        counts = self._db.execute(
            "SELECT coalesce(sum(n), 0) AS results, coalesce(sum(missing), 0) AS missing, "
            "coalesce(sum(unaccounted), 0) AS unaccounted FROM counts WHERE device = ?",
            (device,),
        ).fetchone()
        last = self._db.execute(
            "SELECT end_s, label FROM results WHERE device = ? AND outbox = "
            "(SELECT outbox FROM outboxes WHERE device = ? ORDER BY seen_s DESC, id DESC LIMIT 1) "
            "ORDER BY seq DESC LIMIT 1",
            (device, device),
        ).fetchone()
        return DeviceStatus(
            device=device,
            online=bool(row["online"]),
            seen_s=row["seen_s"],
            model=row["model"],
            results=counts["results"],
            missing=counts["missing"],
            unaccounted=counts["unaccounted"],
            last_result_s=None if last is None else last["end_s"],
            last_label=None if last is None else last["label"],
            health=json.loads(row["health"]),
        )

    @contextmanager
    def _transaction(self) -> Iterator[None]:
        self._db.execute("BEGIN IMMEDIATE")
        try:
            yield
            self._db.execute("COMMIT")
        except BaseException:
            if self._db.in_transaction:
                self._db.execute("ROLLBACK")
            raise

    @contextmanager
    def _translated(self) -> Iterator[None]:
        try:
            yield
        except (
            sqlite3.IntegrityError,
            sqlite3.DataError,
            sqlite3.InterfaceError,
            OverflowError,
            UnicodeError,
        ) as exc:
            raise UnstorableError(f"{self.path}: the store refuses this: {exc}") from exc
        except sqlite3.Error as exc:
            raise StoreError(f"{self.path}: the store failed: {exc}") from exc


def open_existing(path: Path) -> SQLiteStore:
    """The store in a file that is there already.

    Raises:
        StoreError: there is none, or it cannot be opened.
    """
    if not path.is_file():
        raise StoreError(
            f"{path}: there is no store; `edgeml fleet ingest --store {path}` makes one"
        )
    return SQLiteStore(path)


def _progress(device: str, outbox: str, spans: Spans) -> Progress:
    mark = spans.reach()
    return Progress(device, outbox, mark, spans.above(mark))
