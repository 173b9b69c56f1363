"""Rows for the tests of an outbox, and what one holds."""

import json

import numpy as np

from edgeml.result import ModelRef, Result
from edgeml.sync.entries import Caps, Entry, Kind
from edgeml.sync.outbox import Outbox
from edgeml.sync.pending import Pace, Pending, PendingEvent, PendingResult, PendingSample, pack
from edgeml.sync.spans import Spans

MODEL = ModelRef("activity", 3, "ab" * 32)
CAPS = Caps(results_bytes=1 << 20, events_bytes=1 << 20)
PACE = Pace(interval_s=0.01, rows=100, row_bytes=4000, entry_bytes=2000, memory_rows=1000)
EVERYTHING = (Kind.EVENT, Kind.RESULT, Kind.GAP, Kind.SAMPLE)


def a_result(n: int, label: str = "walking") -> PendingResult:
    return PendingResult(Result(MODEL, n, n + 1.0, label, 0.5, (0.5,), 1.0, 2.0, 3.0), n, None)


def an_event(n: int) -> PendingEvent:
    return PendingEvent(float(n), "drift", {"n": n})


def a_sample(n: int) -> PendingSample:
    return PendingSample(a_result(n).result, np.full((8, 3), n, np.float32), "one in 5")


def store(outbox: Outbox, *rows: Pending, acked: Spans | None = None) -> Spans:
    return outbox.commit(pack(list(rows), outbox.next_seq, PACE, 0.0), acked or Spans())


def everything(outbox: Outbox) -> list[Entry]:
    return outbox.read(EVERYTHING, 1, outbox.next_seq, limit=100_000)


def gaps(outbox: Outbox) -> list[tuple[int, int, str]]:
    return [
        (e.seq, e.last, json.loads(e.body)["fields"]["reason"])
        for e in everything(outbox)
        if e.kind is Kind.GAP
    ]
