"""The entries as rows of a table: numbered runs, their sizes counted, their absences on record.

Every change happens inside a transaction that somebody else holds. A gap takes
the numbers of what was given up; gaps that touch grow together, so that there
are never many more of them than entries that still wait.
"""

import json
import sqlite3
from collections.abc import Callable
from typing import Final

from edgeml.clock import Clock
from edgeml.result import ModelRef
from edgeml.sync.entries import SEPARATOR, Entry, Kind, Tally
from edgeml.sync.rows import gap_row, numbered, renumbered
from edgeml.sync.spans import Range, Spans

_SUMS: Final = "SELECT kind, count(*), sum(last - seq + 1), sum(bytes) FROM entries"
_GAPS_TOLD_APART: Final = 1000
_SEVERAL: Final = "several"
_DAMAGED: Final = "damaged on disk"
_TOO_LARGE: Final = "row too large for the broker"


class EntryTable:
    """The table of entries and the counts of what is in it.

    Args:
        db: the database; the caller holds the transactions.
        clock: stamps gaps.
        lived_s: the outbox's running time.

    Attributes:
        border: no gap is on both sides of this number, because what lies beyond may not be sent
            yet; None where everything may.
    """

    def __init__(self, db: sqlite3.Connection, clock: Clock, lived_s: Callable[[], float]) -> None:
        self._db = db
        self._clock = clock
        self._lived_s = lived_s
        self._models: dict[ModelRef, int] = {}
        self.border: int | None = None
        self.recount()

    def recount(self) -> None:
        """Count what is there, as after a transaction that was undone."""
        self._models.clear()
        self.tally = Tally()
        for kind, *sums in self._db.execute(f"{_SUMS} GROUP BY kind").fetchall():
            self.tally.add(Kind(kind), *sums)

    def insert(self, entry: Entry) -> None:
        """Add an entry at numbers that no other has."""
        model = None if entry.model is None else self._model_id(entry.model)
        head = (entry.seq, entry.last, int(entry.kind), model)
        self._add(entry.kind, (*head, len(entry.body), self._lived_s(), entry.body))

    def _add(self, kind: Kind, row: tuple[int, int, int, int | None, int, float, bytes]) -> None:
        self._db.execute("INSERT INTO entries VALUES (?, ?, ?, ?, ?, ?, ?)", row)
        self.tally.add(kind, 1, row[1] - row[0] + 1, row[4])

    def _model_id(self, model: ModelRef) -> int:
        known = self._models.get(model)
        if known is None:
            key = (model.name, model.version, model.digest)
            self._db.execute(
                "INSERT OR IGNORE INTO models (name, version, digest) VALUES (?, ?, ?)", key
            )
            query = "SELECT id FROM models WHERE name = ? AND version = ? AND digest = ?"
            known = int(self._db.execute(query, key).fetchone()[0])
            self._models[model] = known
        return known

    def delete(self, where: str, *values: int) -> None:
        """Take entries out, by a condition of this package."""
        query = f"{_SUMS} WHERE {where} GROUP BY kind"
        for kind, entries, rows, size in self._db.execute(query, values).fetchall():
            self.tally.add(Kind(kind), -entries, -rows, -size)
        self._db.execute(f"DELETE FROM entries WHERE {where}", values)  # noqa: S608

    def split(self, limit_bytes: int) -> Spans:
        """Cut longer entries into rows; a row that is longer itself becomes a gap."""
        query = "SELECT seq, kind, model, lived_s, body FROM entries WHERE bytes > ? AND kind != ?"
        lost: list[Range] = []
        for first, kind, model, lived_s, body in self._db.execute(
            query, (limit_bytes, int(Kind.GAP))
        ).fetchall():
            self.delete("seq = ?", first)
            for seq, row in enumerate(body.split(SEPARATOR), first):
                if len(row) > limit_bytes:
                    lost.append((seq, seq))
                else:
                    self._add(Kind(kind), (seq, seq, kind, model, len(row), lived_s, row))
        gaps = Spans.of(lost)
        self.write_gaps(gaps, _TOO_LARGE)
        return gaps

    def isolate(self, spans: Spans) -> Spans:
        """Store each row among some numbers by itself; what is no row any more becomes a gap."""
        lost: list[Range] = []
        for first, last, kind, model, lived_s, body in self._among(spans):
            if kind == Kind.GAP:
                continue
            rows = body.split(SEPARATOR)
            self.delete("seq = ?", first)
            if len(rows) != last - first + 1:
                lost.append((first, last))
                continue
            for seq, row in enumerate(rows, first):
                if numbered(row) == seq:
                    self._add(Kind(kind), (seq, seq, kind, model, len(row), lived_s, row))
                else:
                    lost.append((seq, seq))
        gaps = Spans.of(lost)
        self.write_gaps(gaps, _DAMAGED)
        return gaps

    def give_up(self, spans: Spans, reason: str) -> Spans:
        """Let gaps take the place of whole entries; the numbers that they now cover."""
        gone = Spans.of((row[0], row[1]) for row in self._among(spans))
        for first, last in gone.ranges:
            self.delete("seq >= ? AND seq <= ?", first, last)
        self.write_gaps(gone, reason)
        return gone

    def _among(self, spans: Spans) -> list[tuple[int, int, int, int | None, float, bytes]]:
        query = (
            "SELECT seq, last, kind, model, lived_s, body FROM entries "
            "WHERE seq <= ? AND last >= ? ORDER BY seq"
        )
        return [
            row
            for first, last in spans.ranges
            for row in self._db.execute(query, (last, first)).fetchall()
        ]

    def renumber(self) -> int:
        """Number all rows from 1, in their order; the number after the last."""
        held = self._db.execute("SELECT seq, last, body FROM entries ORDER BY seq").fetchall()
        next_seq = 1
        for seq, last, body in held:
            shift = next_seq - seq
            kind = None
            try:
                moved = SEPARATOR.join(renumbered(row, shift) for row in body.split(SEPARATOR))
            except (ValueError, TypeError, LookupError):
                # A row that is no JSON any more can neither be renumbered nor sent.
                kind = int(Kind.GAP)
                moved = gap_row(next_seq, last + shift, self._clock.now_s(), _DAMAGED)
            self._db.execute(
                "UPDATE entries SET seq = ?, last = ?, body = ?, kind = coalesce(?, kind) "
                "WHERE seq = ?",
                (next_seq, last + shift, moved, kind, seq),
            )
            next_seq = last + shift + 1
        self.recount()
        return next_seq

    def evict(
        self, kind: Kind, target_bytes: int, born_before_s: float | None, reason: str
    ) -> Spans:
        """Give up the oldest entries of a kind, and say so in gap records.

        Args:
            kind: which.
            target_bytes: so many bytes may stay.
            born_before_s: on the running time, only what came before; None for anything.
            reason: what the records say.

        Returns:
            The numbers that gaps now cover.
        """
        excess = self.tally.bytes_of[kind] - target_bytes
        going: list[Range] = []
        query = "SELECT seq, last, bytes, lived_s FROM entries WHERE kind = ? ORDER BY seq"
        cursor = self._db.execute(query, (int(kind),))
        for seq, last, size, lived_s in cursor:
            if excess <= 0 or (born_before_s is not None and lived_s >= born_before_s):
                break
            going.append((seq, last))
            excess -= size
        cursor.close()
        gone = Spans.of(going)
        for first, last in gone.ranges:
            self.delete("seq >= ? AND seq <= ?", first, last)
        self.write_gaps(gone, reason)
        return gone

    def write_gaps(self, lost: Spans, reason: str) -> None:
        """Put gap records where nothing is any more."""
        for first, last in lost.ranges:
            if self._crosses(first, last) and self.border is not None:
                self.insert(self._gap(first, self.border, reason))
                first = self.border + 1
            self.insert(self._gap(first, last, reason))

    def _crosses(self, first: int, last: int) -> bool:
        return self.border is not None and first <= self.border < last

    def _gap(self, first: int, last: int, reason: str) -> Entry:
        """The gap record, grown together with those that it touches.

        Where there are very many records, neighbours with other reasons are taken in, too.
        """
        apart = self.tally.gaps <= _GAPS_TOLD_APART
        query = "SELECT seq, last, body FROM entries WHERE kind = ? AND seq {} ? ORDER BY seq {}"
        near = [
            self._db.execute(f"{query.format(*way)} LIMIT 1", (int(Kind.GAP), first)).fetchone()
            for way in (("<", "DESC"), (">", "ASC"))
        ]
        for row in near:
            if row is None or (row[1] != first - 1 and row[0] != last + 1):
                continue
            if self._crosses(min(first, row[0]), max(last, row[1])):
                continue
            other = json.loads(row[2])["fields"]["reason"]
            if other != reason and apart:
                continue
            self.delete("seq = ?", row[0])
            first, last = min(first, row[0]), max(last, row[1])
            reason = reason if other == reason else _SEVERAL
        return Entry(first, last, Kind.GAP, None, gap_row(first, last, self._clock.now_s(), reason))
