"""How results, events, gaps and samples stand in the SQLite store's tables."""

import json
from collections.abc import Sequence
from typing import Final

from edgeml.fleet.accounting import Gap
from edgeml.fleet.batches import EventRow, ResultRow
from edgeml.fleet.samplerows import SampleRow

INSERT_RESULT: Final = "INSERT INTO result_rows VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"
INSERT_EVENT: Final = "INSERT INTO event_rows VALUES (?, ?, ?, ?, ?, ?)"
INSERT_GAP: Final = "INSERT INTO gap_rows VALUES (?, ?, ?, ?, ?, ?)"
INSERT_SAMPLE: Final = "INSERT INTO sample_rows VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"

Head = tuple[int, int, float]
"""The store's number of the outbox and of the model, and when the row came."""


def result_row(row: ResultRow, head: Head) -> tuple[object, ...]:
    """A result, for `INSERT_RESULT`."""
    outbox_id, model_id, received_s = head
    return (
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


def sample_row(head: Head, row: SampleRow) -> tuple[object, ...]:
    """A sample, for `INSERT_SAMPLE`."""
    outbox_id, model_id, received_s = head
    where = (outbox_id, row.seq, model_id, received_s)
    return (*where, row.start_s, row.end_s, row.label, row.score, row.reason, row.npy)


def event_rows(
    outbox_id: int, received_s: float, events: Sequence[EventRow]
) -> list[tuple[object, ...]]:
    """Events, for `INSERT_EVENT`."""
    return [
        (outbox_id, row.seq, received_s, row.time_s, row.kind, json.dumps(row.fields))
        for row in events
    ]


def gap_rows(outbox_id: int, received_s: float, gaps: Sequence[Gap]) -> list[tuple[object, ...]]:
    """Gap records, for `INSERT_GAP`."""
    return [(outbox_id, gap.first, gap.last, received_s, gap.time_s, gap.reason) for gap in gaps]
