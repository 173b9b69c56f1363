"""What is new in a batch: the one question that makes a delivery exactly once.

Both stores keep, beside the rows, the set of numbers that each outbox accounts
for, and ask here what a batch adds to it. A number is taken once, as a row or
as part of a gap, whichever came first; everything else is a duplicate.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field

from edgeml.fleet.batches import Batch, EventRow, ResultRow
from edgeml.fleet.samplerows import SampleRow
from edgeml.fleet.store import Progress
from edgeml.result import ModelRef
from edgeml.sync.batches import GAP
from edgeml.sync.spans import Spans


@dataclass(frozen=True, slots=True)
class Gap:
    """Numbers that will never come, as they are to be recorded."""

    first: int
    last: int
    time_s: float
    reason: str


@dataclass(slots=True)
class News:
    """What the batches of one outbox add to the store.

    Attributes:
        after: what the outbox accounts for with them.
        events: new events, no gaps among them.
        samples: new samples, each with the model that answered.
        gaps: the parts of the gap records that nothing accounted for.
        known_rows: how many rows were there already.
        new_rows: how many rows and gap records were not.
        latest: the new result with the greatest number.
    """

    after: Spans
    events: list[EventRow] = field(default_factory=list)
    gaps: list[Gap] = field(default_factory=list)
    samples: list[tuple[ModelRef, SampleRow]] = field(default_factory=list)
    known_rows: int = 0
    new_rows: int = 0
    new_results: int = 0
    latest: ResultRow | None = None

    @property
    def missing(self) -> int:
        """How many numbers the new gaps cover."""
        return sum(gap.last - gap.first + 1 for gap in self.gaps)

    def take(self, batch: Batch) -> Sequence[ResultRow]:
        """Account for one more batch; the results of it that are new, by number."""
        for event in batch.events:
            self._take_event(event)
        if batch.model is not None:
            for sample in batch.samples:
                self._take_sample(batch.model, sample)
        fresh = self._fresh(batch.results) if batch.results else ()
        self.new_results += len(fresh)
        self.new_rows += len(fresh)
        self.known_rows += len(batch.results) - len(fresh)
        if fresh and (self.latest is None or fresh[-1].seq > self.latest.seq):
            self.latest = fresh[-1]
        return fresh

    def _fresh(self, rows: Sequence[ResultRow]) -> Sequence[ResultRow]:
        first, last = rows[0].seq, rows[-1].seq
        consecutive = all(row.seq == first + i for i, row in enumerate(rows))
        if consecutive and not self.after.touches(first, last):
            self.after = self.after.plus(first, last)
            return rows
        known = self.after
        by_number = {row.seq: row for row in reversed(rows) if row.seq not in known}
        self.after = known.union(Spans.of((seq, seq) for seq in by_number))
        return [by_number[seq] for seq in sorted(by_number)]

    def _take_sample(self, model: ModelRef, row: SampleRow) -> None:
        if row.seq in self.after:
            self.known_rows += 1
            return
        self.new_rows += 1
        self.samples.append((model, row))
        self.after = self.after.plus(row.seq, row.seq)

    def _take_event(self, row: EventRow) -> None:
        if self.after.covers(row.seq, row.last):
            self.known_rows += 1
            return
        self.new_rows += 1
        if row.kind == GAP:
            reason = str(row.fields.get("reason", ""))
            for first, last in Spans(((row.seq, row.last),)).minus(self.after).ranges:
                self.gaps.append(Gap(first, last, row.time_s, reason))
        else:
            self.events.append(row)
        self.after = self.after.plus(row.seq, row.last)


def progress_of(device: str, outbox: str, accounted: Spans) -> Progress:
    """How far a store is with an outbox that accounts for these numbers."""
    mark = accounted.reach()
    return Progress(device, outbox, mark, accounted.above(mark))


def unaccounted(accounted: Spans) -> int:
    """How many numbers below the greatest one have not come."""
    return accounted.ranges[-1][1] - accounted.count if accounted else 0
