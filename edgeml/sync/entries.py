"""The values of the outbox: what an entry is, what kinds there are, how much may wait."""

from collections.abc import Iterable
from dataclasses import dataclass
from enum import IntEnum
from typing import Final

from edgeml.result import ModelRef
from edgeml.sync.spans import Spans

SEPARATOR: Final = b",\n"


class Kind(IntEnum):
    """What an entry holds; a gap stands for rows that will never come."""

    EVENT = 0
    RESULT = 1
    GAP = 2
    SAMPLE = 3


@dataclass(frozen=True, slots=True)
class Caps:
    """How much may wait: bytes of each kind, and seconds of the device's running time."""

    results_bytes: int
    events_bytes: int
    max_age_s: float | None = None
    samples_bytes: int = 64 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class Entry:
    """Rows `seq` to `last`, as stored; `body` joins them with `SEPARATOR`."""

    seq: int
    last: int
    kind: Kind
    model: ModelRef | None
    body: bytes

    @property
    def rows(self) -> list[bytes]:
        """The rows one by one."""
        return self.body.split(SEPARATOR)


@dataclass(frozen=True, slots=True)
class Waiting:
    """What is in the outbox: rows that wait, their bytes, and numbers covered by gaps."""

    rows: int
    bytes: int
    gaps: int
    missing: int


class Tally:
    """Counts what is in an outbox, so that nobody has to ask the database."""

    __slots__ = ("bytes_of", "gaps", "missing", "rows")

    def __init__(self) -> None:
        self.bytes_of = dict.fromkeys(Kind, 0)
        self.rows = 0
        self.gaps = 0
        self.missing = 0

    def add(self, kind: Kind, entries: int, rows: int, size: int) -> None:
        """Count so many entries of a kind; negative where they leave."""
        self.bytes_of[kind] += size
        if kind is Kind.GAP:
            self.gaps += entries
            self.missing += rows
        else:
            self.rows += rows

    @property
    def waiting(self) -> Waiting:
        """The sums."""
        return Waiting(self.rows, sum(self.bytes_of.values()), self.gaps, self.missing)


def spans_of(entries: Iterable[Entry]) -> Spans:
    """The numbers that entries account for."""
    return Spans.of((entry.seq, entry.last) for entry in entries)
