"""A batch as it is read: one outbox, one model, many rows, each with its own number.

Rows are checked here once, type by type, so that a store can put them away
without asking again. Whoever reads a batch from the network meets
`ProtocolError` for anything that is not exactly one, and nothing else.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from edgeml.errors import ProtocolError
from edgeml.fleet.samplerows import SampleRow, parse_sample
from edgeml.jsonread import Fields
from edgeml.result import ModelRef
from edgeml.sync.batches import GAP
from edgeml.sync.spans import Spans
from edgeml.sync.wire import (
    MAX_SEQ,
    bounded,
    check_version,
    clean,
    finite,
    is_finite_json,
    load,
    model_of,
    shown,
)

_NUMBERS: Final = frozenset((int, float))


@dataclass(frozen=True, slots=True)
class ResultRow:
    """One result as it travels; the fields of `edgeml.result.Result`, and what the caller added.

    `score` and the `outputs` may be None: JSON has no NaN, and a result whose
    model answered NaN is still delivered.
    """

    seq: int
    start_s: float
    end_s: float
    label: str | None
    score: float | None
    outputs: tuple[float | None, ...]
    pre_us: float
    invoke_us: float
    post_us: float
    window: int | None
    extra: Mapping[str, Any] | None

    @property
    def last(self) -> int:
        """The last sequence number this row accounts for: its own."""
        return self.seq


@dataclass(frozen=True, slots=True)
class EventRow:
    """Something that happened on the device; a gap stands for every number from `seq` to `last`."""

    seq: int
    last: int
    time_s: float
    kind: str
    fields: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Batch:
    """One message of results, of events or of samples; `model` is None for events."""

    outbox: str
    model: ModelRef | None
    results: tuple[ResultRow, ...] = ()
    events: tuple[EventRow, ...] = ()
    samples: tuple[SampleRow, ...] = ()

    @property
    def spans(self) -> Spans:
        """Every sequence number that the batch accounts for."""
        single = (row.seq for rows in (self.results, self.samples) for row in rows)
        return Spans.of((seq, seq) for seq in single).union(
            Spans.of((row.seq, row.last) for row in self.events)
        )


def parse_results(payload: bytes) -> Batch:
    """Read a message of the `results` topic.

    Raises:
        ProtocolError: it is not one of this version.
    """
    fields = _batch_fields(payload)
    model = model_of(fields.child("model"))
    rows = tuple(_result_row(row, i) for i, row in enumerate(_rows(fields)))
    return Batch(clean(fields.text("outbox")), model, results=rows)


def parse_events(payload: bytes) -> Batch:
    """Read a message of the `events` topic.

    Raises:
        ProtocolError: it is not one of this version.
    """
    fields = _batch_fields(payload)
    rows = tuple(_event_row(row, i) for i, row in enumerate(_rows(fields)))
    return Batch(clean(fields.text("outbox")), None, events=rows)


def parse_samples(payload: bytes) -> Batch:
    """Read a message of the `samples` topic.

    Raises:
        ProtocolError: it is not one of this version.
    """
    fields = _batch_fields(payload)
    model = model_of(fields.child("model"))
    rows = tuple(parse_sample(row, f"batch.rows[{i}]") for i, row in enumerate(_rows(fields)))
    return Batch(clean(fields.text("outbox")), model, samples=rows)


def _batch_fields(payload: bytes) -> Fields:
    fields = Fields(load(payload), "batch", ProtocolError, ignore_unknown=True)
    check_version(fields)
    return fields


def _rows(fields: Fields) -> list[Any]:
    rows = fields.items("rows")
    if not rows:
        raise ProtocolError("batch.rows is empty; a batch has at least one row")
    return rows


def _result_row(row: Any, index: int) -> ResultRow:
    # The one place that runs for every result of a whole fleet: a type check each, no reader
    # object.
    try:
        outputs = row["outputs"]
        label, score = row["label"], row["score"]
        start_s, end_s = row["start_s"], row["end_s"]
        pre_us, invoke_us, post_us = row["pre_us"], row["invoke_us"], row["post_us"]
        seq, window, extra = row["seq"], row.get("window"), row.get("extra")
    except (KeyError, TypeError, AttributeError) as exc:
        raise ProtocolError(f"batch.rows[{index}] is not a result: {_explain(exc)}") from exc
    if not (
        type(seq) is int
        and 0 < seq <= MAX_SEQ
        and (label is None or type(label) is str)
        and (score is None or type(score) in _NUMBERS)
        and type(outputs) is list
        and all(value is None or type(value) in _NUMBERS for value in outputs)
        and all(type(value) in _NUMBERS for value in (start_s, end_s, pre_us, invoke_us, post_us))
        and (window is None or (type(window) is int and abs(window) <= MAX_SEQ))
        and (extra is None or (type(extra) is dict and is_finite_json(extra)))
    ):
        raise ProtocolError(f"batch.rows[{index}] has a value of the wrong type: {shown(row)}")
    try:
        times = (float(start_s), float(end_s), float(pre_us), float(invoke_us), float(post_us))
        score = None if score is None else finite(float(score))
        values = tuple([None if value is None else finite(float(value)) for value in outputs])
    except OverflowError as exc:
        raise ProtocolError(
            f"batch.rows[{index}] has a number beyond 64 bits: {shown(row)}"
        ) from exc
    if not math.isfinite(sum(times)):
        raise ProtocolError(f"batch.rows[{index}] has a time beyond 64 bits: {shown(row)}")
    label = None if label is None else clean(label)
    return ResultRow(seq, times[0], times[1], label, score, values, *times[2:], window, extra)


def _event_row(row: Any, index: int) -> EventRow:
    fields = Fields(row, f"batch.rows[{index}]", ProtocolError, ignore_unknown=True)
    seq = bounded(fields.integer("seq"), f"{fields.path}.seq", 1)
    last = bounded(fields.integer("last", default=seq), f"{fields.path}.last", seq)
    kind = clean(fields.text("kind"))
    if kind != GAP and last != seq:
        raise ProtocolError(
            f"{fields.path} is a {kind!r} over {seq} to {last}; only a gap covers a range"
        )
    values = fields.child("fields").raw
    if not is_finite_json(values):
        raise ProtocolError(f"{fields.path}.fields has a number beyond 64 bits: {shown(values)}")
    return EventRow(seq, last, fields.number("time_s"), kind, values)


def _explain(exc: Exception) -> str:
    return f"{exc} is missing" if isinstance(exc, KeyError) else "it is not an object"
