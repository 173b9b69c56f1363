"""Rows on their way from memory to disk: what waits, how it is gathered, how entries are made.

Values come from callers, so anything may be wrong with them, and each row
answers for itself: one that cannot be encoded or sent leaves a gap at its
number, and its neighbours are stored.
"""

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, NamedTuple

from edgeml.arrays import Array
from edgeml.result import ModelRef, Result
from edgeml.sync.entries import SEPARATOR, Entry, Kind
from edgeml.sync.rows import event_row, gap_row, result_row
from edgeml.sync.windows import sample_row
from edgeml.sync.wire import MAX_SEQ

log: Final = logging.getLogger("edgeml.outbox")


class PendingResult(NamedTuple):
    """A result that has no number yet; a named tuple, because one is made for every window."""

    result: Result
    window: int | None
    extra: Mapping[str, Any] | None


@dataclass(frozen=True, slots=True)
class PendingEvent:
    """An event that has no number yet; one with a key, a name and a number, is told once."""

    time_s: float
    kind: str
    fields: Mapping[str, Any]
    key: tuple[str, int] | None = None


@dataclass(frozen=True, slots=True)
class PendingSample:
    """A window that has no number yet, what the model made of it, and why it was kept."""

    result: Result
    window: Array
    reason: str


Pending = PendingResult | PendingEvent | PendingSample


@dataclass(frozen=True, slots=True)
class Pace:
    """How rows are gathered.

    Attributes:
        interval_s: a row waits at most this long for company.
        rows: so many rows are stored at once, before the interval is over.
        row_bytes: a longer row can never be sent; a gap takes its place.
        entry_bytes: rows are stored together up to this length.
        memory_rows: most rows that wait in memory.
        memory_samples: most samples among them, which are larger.
    """

    interval_s: float
    rows: int
    row_bytes: int
    entry_bytes: int
    memory_rows: int
    memory_samples: int = 64


def pack(rows: list[Pending], next_seq: int, pace: Pace, now_s: float) -> list[Entry]:
    """Encode rows, number them, and put neighbours of one kind and model into one entry.

    A row longer than `pace.row_bytes` could never be sent, and a row of values that JSON or a
    database cannot hold could not even be stored: a gap takes its number.
    """
    entries: list[Entry] = []
    run: list[bytes] = []
    run_kind: tuple[Kind, ModelRef | None] = (Kind.EVENT, None)
    size = 0

    def close_run(end: int) -> None:
        if run:
            entries.append(Entry(end - len(run), end - 1, *run_kind, SEPARATOR.join(run)))
            run.clear()

    for seq, row in enumerate(rows, next_seq):
        kind, body = _encoded(seq, row, now_s)
        if len(body) > pace.row_bytes:
            kind, body = (Kind.GAP, None), gap_row(seq, seq, now_s, "row too large")
        if kind != run_kind or kind[0] is Kind.GAP or size + len(body) > pace.entry_bytes:
            close_run(seq)
            run_kind, size = kind, 0
        run.append(body)
        size += len(body)
    close_run(next_seq + len(rows))
    return entries


def _encoded(seq: int, row: Pending, now_s: float) -> tuple[tuple[Kind, ModelRef | None], bytes]:
    try:
        if isinstance(row, PendingEvent):
            return (Kind.EVENT, None), event_row(seq, row.time_s, row.kind, row.fields)
        model = row.result.model
        if not 0 <= model.version <= MAX_SEQ:
            raise ValueError(f"model version {model.version} takes more than 63 bits")
        if isinstance(row, PendingSample):
            return (Kind.SAMPLE, model), sample_row(seq, row.result, row.window, row.reason)
        return (Kind.RESULT, model), result_row(seq, row.result, row.window, row.extra)
    except Exception:
        # The values are somebody else's, and so is what they raise when they are looked at.
        log.warning("row %d cannot be encoded; a gap takes its number", seq, exc_info=True)
        return (Kind.GAP, None), gap_row(seq, seq, now_s, "cannot be encoded")
