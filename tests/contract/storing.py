"""Batches as a device sends them, for the tests of stores."""

from edgeml.fleet.batches import Batch, EventRow, ResultRow
from edgeml.fleet.store import Delivered, Intake, Progress, Store
from edgeml.result import ModelRef

MODEL = ModelRef("activity", 3, "ab" * 32)


def results(*seqs: int, label: str = "walking") -> Batch:
    rows = tuple(
        ResultRow(n, n, n + 1.0, label, 0.5, (0.5, None), 1.0, 2.0, 3.0, n * 10, {"truth": label})
        for n in seqs
    )
    return Batch("box", MODEL, results=rows)


def gap(first: int, last: int, reason: str = "disk cap") -> Batch:
    fields = {"count": last - first + 1, "reason": reason}
    return Batch("box", None, events=(EventRow(first, last, 5.0, "gap", fields),))


def take(store: Store, *batches: Batch, device: str = "pump-7", at_s: float = 100.0) -> Progress:
    committed = store.commit(Intake(batches=[Delivered(device, batch) for batch in batches]), at_s)
    return committed.progress[-1]
