"""What waits on disk until somebody else has it: entries, caps, gaps and marks.

An entry is a run of rows of one kind, encoded for the wire, at consecutive
sequence numbers. It is deleted when it was acknowledged and replaced by a gap
when a cap forces it out, so every number ever given is acknowledged, in an
entry, or covered by a gap, and the store can tell exactly what is missing.
One thread writes, another may read; neither waits for the other.
"""

import sqlite3
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Final

from edgeml.clock import Clock
from edgeml.result import ModelRef
from edgeml.sync import outboxfile
from edgeml.sync.entries import Caps, Entry, Kind, Waiting
from edgeml.sync.entrytable import EntryTable
from edgeml.sync.outboxfile import BrokenOutboxError, FullOutboxError, translated
from edgeml.sync.spans import Spans

_FREE_PAGES_KEPT: Final = 256
_ROW_OVERHEAD: Final = 1.3
_TOLD: Final = "told "
_NOTHING: Final[Mapping[str, int]] = {}


class Outbox:
    """One device's queue on disk.

    Invariant: the numbers below `next_seq` that are in no entry were acknowledged.

    Attributes:
        id: names this database; made with it.
        next_seq: the number that the next row gets.
        mark: the store's mark, as last heard and written down.
        boots: how often the outbox was opened.
        vouched: the last number that existed when this file was last known to be the newest of
            its copies; a store that knows more of this outbox has it from another copy.
        aside: where a damaged predecessor went when this one was opened, if so.
        told: the greatest number of what is told once, by name.
    """

    def __init__(self, path: Path, caps: Caps, clock: Clock) -> None:
        """Open the outbox, or make it.

        Raises:
            OutboxError: another process has it, it cannot be opened, or a later edgeml made it.
        """
        self.path = path = path.resolve()  # one file has one lock, by whatever name it is opened
        self._caps = caps
        self._clock = clock
        self.aside: Path | None = None
        self.id = ""
        self.next_seq = 1
        self.vouched = 0
        self.mark = 0
        self.told: dict[str, int] = {}
        self._table: EntryTable
        self._reading = threading.Lock()
        self._lock = outboxfile.take_lock(path)
        try:
            self._open()
        except BaseException:
            self._lock.close()
            raise

    def close(self) -> None:
        """Close the file and let another process have it."""
        with self._reading:
            self._db.close()
            self._reader.close()
        outboxfile.reserve(self.path)
        self._lock.close()

    @property
    def waiting(self) -> Waiting:
        """What is in the outbox, from counters."""
        return self._table.tally.waiting

    def oldest_age_s(self) -> float | None:
        """How long the oldest entry has waited, in seconds of running time."""
        oldest = self._oldest_s
        return None if oldest is None else max(self._lived_s() - oldest, 0.0)

    def commit(
        self,
        entries: Sequence[Entry],
        acked: Spans,
        mark: int | None = None,
        told: Mapping[str, int] = _NOTHING,
    ) -> Spans:
        """Store entries and let go of what was acknowledged, in one transaction on the medium.

        Args:
            entries: new ones, numbered from `next_seq` without a hole.
            acked: numbers that the other side has.
            mark: the store's mark, to write down.
            told: what of these entries is told once, by name and number.

        Returns:
            The numbers that gaps now cover and did not before.

        Raises:
            BrokenOutboxError: the database is damaged.
            OutboxError: the rows cannot be stored, for example because the disk is full.
        """
        with translated(self.path):
            with self._transaction():
                for entry in entries:
                    self._table.insert(entry)
                next_seq = entries[-1].last + 1 if entries else self.next_seq
                vouched = next_seq - 1 if self._newest else self.vouched
                for first, last in acked.ranges:
                    self._table.delete("seq >= ? AND seq <= ? AND last <= ?", first, last, last)
                gaps = self._enforce_caps() if entries else Spans()
                self._set("next_seq", next_seq)
                self._set("vouched", vouched)
                self._set("lived_s", self._lived_s())
                for name, number in told.items():
                    self._set(f"{_TOLD}{name}", number)
                if mark is not None:
                    self._set("mark", mark)
            self.told.update(told)
            self.next_seq, self.vouched = next_seq, vouched
            self.mark = self.mark if mark is None else mark
        # The rows are stored: whatever fails from here on must not make anybody store them again.
        with suppress(sqlite3.Error):
            self._tidy()
        return gaps

    def read(
        self,
        kinds: Sequence[Kind],
        first: int,
        last: int,
        *,
        descending: bool = False,
        limit: int = 64,
    ) -> list[Entry]:
        """Entries that begin between two numbers, in either order; for the reading thread.

        Raises:
            OutboxError: the database cannot be read.
        """
        marks = ",".join("?" * len(kinds))
        order = "DESC" if descending else "ASC"
        query = (
            "SELECT e.seq, e.last, e.kind, m.name, m.version, m.digest, e.body FROM entries e "  # noqa: S608
            f"LEFT JOIN models m ON m.id = e.model WHERE e.kind IN ({marks}) "
            f"AND e.seq >= ? AND e.seq <= ? ORDER BY e.seq {order} LIMIT ?"
        )
        # Nobody may close the reader under a query.
        with translated(self.path), self._reading:
            found = self._reader.execute(query, (*kinds, first, last, limit)).fetchall()
        return [
            Entry(seq, end, Kind(kind), None if name is None else ModelRef(name, *model), body)
            for seq, end, kind, name, *model, body in found
        ]

    def audit(self, stored: Spans, horizon: int, reason: str) -> Spans:
        """Declare what is neither here nor in the store: deleted on a word that no longer holds.

        Args:
            stored: everything the store says it has.
            horizon: nothing beyond this number is judged.
            reason: what the gap records say.

        Returns:
            The numbers that gaps now cover.

        Raises:
            OutboxError: the gaps cannot be stored.
        """
        last = min(horizon, self.next_seq - 1)
        if last < 1:
            return Spans()
        with translated(self.path):
            held = self._db.execute("SELECT seq, last FROM entries").fetchall()
            lost = Spans(((1, last),)).minus(stored).minus(Spans.of(held))
            with self._transaction():
                self._table.write_gaps(lost, reason)
        return lost

    def split(self, limit_bytes: int) -> Spans:
        """Cut entries that are longer than a broker accepts into single rows.

        Args:
            limit_bytes: a single row that is still longer becomes a gap.

        Returns:
            The numbers that gaps now cover.

        Raises:
            OutboxError: they cannot be rewritten.
        """
        with translated(self.path), self._transaction():
            return self._table.split(limit_bytes)

    def isolate(self, spans: Spans) -> Spans:
        """Store each row among some numbers by itself; what is no row any more becomes a gap.

        Returns:
            The numbers that gaps now cover.

        Raises:
            OutboxError: they cannot be rewritten.
        """
        with translated(self.path), self._transaction():
            return self._table.isolate(spans)

    def give_up(self, spans: Spans) -> Spans:
        """Let a gap take the place of what the store refuses.

        Returns:
            The numbers that gaps now cover.

        Raises:
            OutboxError: it cannot be rewritten.
        """
        with translated(self.path), self._transaction():
            return self._table.give_up(spans, "refused by the store")

    def vouch(self) -> None:
        """Note that this file is no old copy: what it holds, and will hold, may be sent.

        Raises:
            OutboxError: it cannot be written down.
        """
        with translated(self.path), self._transaction():
            self._set("vouched", self.next_seq - 1)
        self._newest, self.vouched = True, self.next_seq - 1
        self._table.border = None

    def rotate(self) -> None:
        """Become another outbox: new id, the same rows, numbered from 1.

        For when the store knows numbers that this file never gave: the file is
        an old copy, and to go on would hide new results behind old numbers.

        Raises:
            OutboxError: it cannot be rewritten.
        """
        old_id = self.id
        try:
            with translated(self.path), self._transaction():
                next_seq = self._table.renumber()
                # Whoever reads renumbered rows must find the new id already.
                self.id = outboxfile.new_outbox_id()
                self._set("outbox", self.id)
                self._set("next_seq", next_seq)
                self._set("vouched", next_seq - 1)
                self._set("mark", 0)
        except BaseException:
            self.id = old_id
            raise
        self.next_seq, self.mark = next_seq, 0
        self._newest, self.vouched = True, next_seq - 1
        self._table.border = None

    def evict(self, share: float) -> Spans:
        """Give up the oldest share of the samples, where there are none of the results.

        For a full disk.

        Raises:
            OutboxError: not even that is possible.
        """
        with translated(self.path), self._transaction():
            sizes = self._table.tally.bytes_of
            kind = Kind.SAMPLE if sizes[Kind.SAMPLE] else Kind.RESULT
            return self._table.evict(kind, int(sizes[kind] * (1 - share)), None, "disk full")

    def start_over(self) -> Path:
        """Set a database that turned out to be damaged aside, and go on with a new one.

        Raises:
            OutboxError: it cannot be set aside.
        """
        with self._reading:
            self._db.close()
            self._reader.close()
            self.aside = outboxfile.set_aside(self.path)
            self._open()
        return self.aside

    def _open(self) -> None:
        # Between any two events there can be a gap record, which is longer than a short event.
        caps = self._caps
        rows_bytes = caps.results_bytes + caps.samples_bytes + 3 * caps.events_bytes
        cap_bytes = int(rows_bytes * _ROW_OVERHEAD) + (4 << 20)
        try:
            self._connect(cap_bytes)
        except BrokenOutboxError:
            self.aside = outboxfile.set_aside(self.path)
            self._connect(cap_bytes)
        except FullOutboxError:
            if not outboxfile.release(self.path):
                raise
            self._connect(cap_bytes)
        self._reader = outboxfile.connect_reader(self.path)

    def _connect(self, cap_bytes: int) -> None:
        self._db = outboxfile.connect(self.path, cap_bytes)
        try:
            self._load()
        except BaseException:
            self._db.close()
            raise

    def _load(self) -> None:
        with translated(self.path):
            meta: dict[str, Any] = dict(self._db.execute("SELECT key, value FROM meta"))
            try:
                self.id = str(meta["outbox"])
                self.next_seq = int(meta["next_seq"])
                self.mark = int(meta["mark"])
                self.boots = int(meta["boots"]) + 1
                self.vouched = int(meta.get("vouched", self.next_seq - 1))
                self._lived_before_s = float(meta["lived_s"])
                names = [key for key in meta if key.startswith(_TOLD)]
                self.told = {key.removeprefix(_TOLD): int(meta[key]) for key in names}
            except (KeyError, ValueError, TypeError) as exc:
                raise BrokenOutboxError(
                    f"{self.path}: the outbox's own record is damaged: {exc}"
                ) from exc
            # Of a file that has just been made there is no other copy.
            self._newest = self.boots == 1
            self._opened_s = self._clock.monotonic_s()
            self._table = EntryTable(self._db, self._clock, self._lived_s)
            self._table.border = None if self._newest else self.vouched
            self._find_oldest()
            self._db.execute("BEGIN IMMEDIATE")
            self._set("boots", self.boots)
            self._db.execute("COMMIT")

    def _tidy(self) -> None:
        self._find_oldest()
        free = int(self._db.execute("PRAGMA freelist_count").fetchone()[0])
        if free > _FREE_PAGES_KEPT:
            # execute() would stop after the first page.
            self._db.executescript(f"PRAGMA incremental_vacuum({free - _FREE_PAGES_KEPT})")

    def _find_oldest(self) -> None:
        row = self._db.execute("SELECT lived_s FROM entries ORDER BY seq LIMIT 1").fetchone()
        self._oldest_s = None if row is None else float(row[0])

    @contextmanager
    def _transaction(self) -> Iterator[None]:
        self._db.execute("BEGIN IMMEDIATE")
        try:
            yield
            self._db.execute("COMMIT")
        except BaseException:
            self._undo()
            raise

    def _undo(self) -> None:
        if self._db.in_transaction:
            self._db.execute("ROLLBACK")
        self._table.recount()
        self._find_oldest()

    def _enforce_caps(self) -> Spans:
        gaps = Spans()
        for kind, cap in (
            (Kind.SAMPLE, self._caps.samples_bytes),
            (Kind.RESULT, self._caps.results_bytes),
            (Kind.EVENT, self._caps.events_bytes),
        ):
            if self._table.tally.bytes_of[kind] > cap:
                gaps = gaps.union(self._table.evict(kind, cap, None, "disk cap"))
        if self._caps.max_age_s is not None:
            born_before_s = self._lived_s() - self._caps.max_age_s
            for kind in (Kind.SAMPLE, Kind.RESULT):
                gaps = gaps.union(self._table.evict(kind, 0, born_before_s, "age"))
        return gaps

    def _set(self, key: str, value: str | float) -> None:
        self._db.execute("INSERT OR REPLACE INTO meta VALUES (?, ?)", (key, value))

    def _lived_s(self) -> float:
        return self._lived_before_s + self._clock.monotonic_s() - self._opened_s
