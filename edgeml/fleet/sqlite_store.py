"""The fleet's store in one SQLite file: the default, enough for thousands of devices.

The primary key of a result is (device, outbox, seq). Beside the rows stands,
for each outbox, which numbers are accounted for; that record decides what is
new, so results that were deleted after their retention do not come back, and
a row that was declared lost stays lost.
"""

import json
import sqlite3
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from edgeml.errors import StoreError
from edgeml.fleet import sqlite_read as read
from edgeml.fleet.accounting import News, progress_of
from edgeml.fleet.sqlite_prune import prune
from edgeml.fleet.sqlite_rows import (
    INSERT_EVENT,
    INSERT_GAP,
    INSERT_RESULT,
    INSERT_SAMPLE,
    event_rows,
    gap_rows,
    result_row,
    sample_row,
)
from edgeml.fleet.sqlite_schema import migrate
from edgeml.fleet.store import (
    Committed,
    DeviceStatus,
    Intake,
    Progress,
    UnstorableError,
)
from edgeml.result import ModelRef
from edgeml.sync.messages import State
from edgeml.sync.spans import Spans

_BUSY_TIMEOUT_S: Final = 30.0
_SELECT_ACCOUNT: Final = (
    "SELECT o.id, s.first, s.last FROM outboxes o LEFT JOIN spans s ON s.outbox_id = o.id "
    "WHERE o.device = ? AND o.outbox = ? ORDER BY s.first"
)
_UPDATE_OUTBOX: Final = (
    "UPDATE outboxes SET seen_s = max(seen_s, ?1), results = results + ?2, "
    "missing = missing + ?3, last_seq = max(last_seq, ?4), "
    "last_end_s = CASE WHEN ?4 > last_seq THEN ?5 ELSE last_end_s END, "
    "last_label = CASE WHEN ?4 > last_seq THEN ?6 ELSE last_label END WHERE id = ?7"
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
            accounts: dict[tuple[str, str], _Account] = {}
            models: dict[ModelRef, int] = {}
            rows: list[tuple[object, ...]] = []
            for delivered in intake.batches:
                key = (delivered.device, delivered.batch.outbox)
                account = accounts.get(key)
                if account is None:
                    account = accounts[key] = self._account(*key, received_s)
                fresh = account.news.take(delivered.batch)
                model = delivered.batch.model
                if fresh and model is not None:
                    if model not in models:
                        models[model] = self._model_id(model)
                    head = (account.outbox_id, models[model], received_s)
                    rows += [result_row(row, head) for row in fresh]
            self._db.executemany(INSERT_RESULT, rows)
            self._settle(accounts.values(), received_s)
            self._seen({device for device, _ in accounts}, received_s)
            self._note_rest(intake, received_s)
        return Committed(
            tuple(progress_of(*key, account.news.after) for key, account in accounts.items()),
            sum(account.news.new_rows for account in accounts.values()),
            sum(account.news.known_rows for account in accounts.values()),
        )

    def progress(self, device: str, outbox: str) -> Progress:
        """How far the store is with one outbox; mark 0 for one it never heard of."""
        with self._translated():
            return read.progress(self._db, device, outbox)

    def current(self) -> Sequence[Progress]:
        """How far it is with the outbox that each device used last."""
        with self._translated():
            return read.current(self._db)

    def status(self) -> Sequence[DeviceStatus]:
        """Every device, by id."""
        with self._translated():
            return read.status(self._db)

    def results(self, device: str | None = None) -> Iterator[Mapping[str, Any]]:
        """Every result, by device, outbox and number, as flat rows for an export."""
        with self._translated():
            yield from read.rows(self._db, read.RESULTS, "r.seq", device)

    def samples(self, device: str | None = None) -> Iterator[Mapping[str, Any]]:
        """Every sample, by device, outbox and number; `npy` is the window."""
        with self._translated():
            yield from read.rows(self._db, read.SAMPLES, "s.seq", device)

    def gaps(self, device: str | None = None) -> Sequence[Mapping[str, Any]]:
        """Every gap record: device, outbox, first, last, reason, time_s."""
        with self._translated():
            return read.gaps(self._db, device)

    def letters(self) -> Sequence[Mapping[str, Any]]:
        """Every dead letter: received_s, topic, reason, payload."""
        with self._translated():
            return read.letters(self._db)

    def prune(self, before_s: float) -> int:
        """Delete what was received before a unix time; how many rows there were."""
        with self._translated():
            return prune(self._db, self._transaction, before_s)

    def _account(self, device: str, outbox: str, received_s: float) -> "_Account":
        found = self._db.execute(_SELECT_ACCOUNT, (device, outbox)).fetchall()
        outbox_id = found[0][0] if found else self._outbox_id(device, outbox, received_s)
        before = Spans(tuple((row[1], row[2]) for row in found if row[1] is not None))
        return _Account(outbox_id, before, News(before))

    def _settle(self, accounts: Collection["_Account"], received_s: float) -> None:
        self._replace_spans(accounts)
        self._db.executemany(_UPDATE_OUTBOX, [one.totals(received_s) for one in accounts])
        for account in accounts:
            self._put_rest(account, received_s)

    def _put_rest(self, account: "_Account", received_s: float) -> None:
        outbox_id, news = account.outbox_id, account.news
        if news.events:
            self._db.executemany(INSERT_EVENT, event_rows(outbox_id, received_s, news.events))
        if news.gaps:
            self._db.executemany(INSERT_GAP, gap_rows(outbox_id, received_s, news.gaps))
        if news.samples:
            samples = [
                ((outbox_id, self._model_id(model), received_s), row) for model, row in news.samples
            ]
            self._db.executemany(INSERT_SAMPLE, [sample_row(*sample) for sample in samples])

    def _note_rest(self, intake: Intake, received_s: float) -> None:
        for state in intake.states.values():
            self._note_state(state, received_s)
        for device, health in intake.healths.items():
            self._note_health(device, health, received_s)
        self._db.executemany(
            "INSERT INTO dead_letters (received_s, topic, reason, payload) VALUES (?, ?, ?, ?)",
            [
                (received_s, letter.topic, letter.reason, letter.payload)
                for letter in intake.letters
            ],
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

    def _replace_spans(self, accounts: Iterable["_Account"]) -> None:
        gone: list[tuple[int, int]] = []
        there: list[tuple[int, int, int]] = []
        for account in accounts:
            old, new = dict(account.before.ranges), dict(account.news.after.ranges)
            gone += [(account.outbox_id, first) for first in old if first not in new]
            there += [
                (account.outbox_id, first, last)
                for first, last in new.items()
                if old.get(first) != last
            ]
        self._db.executemany("DELETE FROM spans WHERE outbox_id = ? AND first = ?", gone)
        self._db.executemany(
            "INSERT INTO spans VALUES (?, ?, ?) "
            "ON CONFLICT (outbox_id, first) DO UPDATE SET last = excluded.last",
            there,
        )

    def _seen(self, devices: Iterable[str], received_s: float) -> None:
        self._db.executemany(
            "INSERT INTO devices (device, seen_s) VALUES (?, ?) "
            "ON CONFLICT (device) DO UPDATE SET seen_s = max(seen_s, excluded.seen_s)",
            [(device, received_s) for device in devices],
        )

    def _note_state(self, state: State, received_s: float) -> None:
        self._seen([state.device], received_s)
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
        self._seen([device], received_s)
        self._db.execute(
            "UPDATE devices SET health = ?, health_s = ? WHERE device = ?",
            (json.dumps(health), received_s, device),
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
            # SQLITE_CORRUPT and SQLITE_NOTADB are the two that map to the bare class.
            if type(exc) is sqlite3.DatabaseError:
                raise StoreError(
                    f"{self.path}: the store is damaged: {exc}; stop the ingests and put a backup "
                    "in its place, or nothing: devices send what they have and name what is lost"
                ) from exc
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


@dataclass(frozen=True, slots=True)
class _Account:
    """One outbox within one transaction."""

    outbox_id: int
    before: Spans
    news: News

    def totals(self, received_s: float) -> tuple[object, ...]:
        """For `_UPDATE_OUTBOX`."""
        news, last = self.news, self.news.latest
        newest = (0, None, None) if last is None else (last.seq, last.end_s, last.label)
        return (received_s, news.new_results, news.missing, *newest, self.outbox_id)
