"""The end of a fault run: is what is stored what was produced, less what gap records own up to?

Read with plain SQL from the store's public views and the device's own record,
so that no code of the product judges itself.
"""

import json
import sqlite3
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from tests.faults.device import MODEL, STARTS_APART, is_event, score_of


@dataclass(frozen=True)
class Account:
    """What became of one device's rows, in numbers."""

    produced: int
    stored: int
    given_up: int


def durable(journal: Path) -> set[int]:
    """Every number that the device was told is on disk."""
    numbers: set[int] = set()
    for line in journal.read_text().split():
        last = int(line)
        numbers.update(range(last - last % STARTS_APART, last))
    return numbers


class Numbering:
    """Which number of which outbox each row of a device got."""

    def __init__(self, path: Path) -> None:
        starts = [line.split() for line in path.read_text().splitlines()]
        self._starts = {int(start): (outbox, int(seq)) for start, outbox, seq in starts}
        self.outboxes = {outbox for outbox, _ in self._starts.values()}

    def of(self, number: int) -> tuple[str, int]:
        outbox, first = self._starts[number // STARTS_APART]
        return outbox, first + number % STARTS_APART


def settle(device: str, home: Path, store: Path, outbox_path: Path) -> Account:
    """Hold the store to what the device produced.

    Raises:
        AssertionError: a row is missing, doubled, changed, out of order, or owned up to and there.
    """
    numbering = Numbering(home / f"{device}.numbering")
    assert len(numbering.outboxes) == 1, "the outbox changed its name without a reason"
    (outbox,) = numbering.outboxes
    with closing(sqlite3.connect(store)) as db:
        db.row_factory = sqlite3.Row
        assert db.execute("SELECT count(*) FROM dead_letters").fetchone()[0] == 0
        results = db.execute("SELECT * FROM results WHERE device = ? ORDER BY seq", (device,))
        stored = {row["seq"]: _result(row, numbering) for row in results}
        events = db.execute("SELECT * FROM events WHERE device = ? ORDER BY seq", (device,))
        stored_events = {row["seq"]: _event(row, numbering) for row in events}
        gaps = db.execute(
            "SELECT first, last FROM gaps WHERE device = ? AND outbox = ?", (device, outbox)
        ).fetchall()
    assert stored, "this device delivered nothing, so the run shows nothing"
    assert not stored.keys() & stored_events.keys(), "one number is a result and an event"
    numbers = [number for _, number in sorted((stored | stored_events).items())]
    assert len(numbers) == len(set(numbers)), "a row is there twice"
    assert numbers == sorted(numbers), "the order of the numbers is not the order of the rows"
    given_up = [seq for first, last in gaps for seq in range(first, last + 1)]
    assert len(given_up) == len(set(given_up)), "two gap records own up to one row"
    assert not set(given_up) & (stored.keys() | stored_events.keys()), "given up, and there"
    with closing(sqlite3.connect(outbox_path)) as db:
        meta = dict(db.execute("SELECT key, value FROM meta"))
        assert db.execute("SELECT count(*) FROM entries").fetchone()[0] == 0
    assert meta["outbox"] == outbox
    produced = int(meta["next_seq"]) - 1
    accounted = sorted([*stored, *stored_events, *given_up])
    assert accounted == list(range(1, produced + 1)), "stored is not produced less the gaps"
    missing = durable(home / f"{device}.journal") - set(numbers)
    unexplained = {n for n in missing if numbering.of(n) not in {(outbox, s) for s in given_up}}
    assert not unexplained, "durable rows are missing, and no gap record covers them"
    return Account(produced, len(numbers), len(given_up))


def _result(row: sqlite3.Row, numbering: Numbering) -> int:
    n = int(row["window"])
    assert not is_event(n)
    assert (row["outbox"], row["seq"]) == numbering.of(n)
    assert (row["label"], row["score"]) == (f"l{n}", score_of(n))
    assert json.loads(row["outputs"]) == [float(n), score_of(n)]
    assert json.loads(row["extra"]) == {"n": n}
    assert row["end_s"] == row["start_s"] + 1.0
    assert (row["model"], row["model_version"], row["model_digest"]) == (
        MODEL.name, MODEL.version, MODEL.digest,
    )  # fmt: skip
    return n


def _event(row: sqlite3.Row, numbering: Numbering) -> int:
    assert row["kind"] == "counted"
    n = int(json.loads(row["fields"])["n"])
    assert is_event(n)
    assert (row["outbox"], row["seq"]) == numbering.of(n)
    return n
