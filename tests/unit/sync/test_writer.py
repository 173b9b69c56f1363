"""Between inference and disk: nothing waits for the disk, nothing on the way to it disappears."""

import json
import math
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edgeml.clock import ManualClock
from edgeml.errors import OutboxError
from edgeml.result import ModelRef, Result
from edgeml.sync.entries import Caps, Kind
from edgeml.sync.outbox import Outbox
from edgeml.sync.pending import Pace, PendingEvent, PendingResult, PendingSample
from edgeml.sync.spans import Spans
from edgeml.sync.writer import Writer

MODEL = ModelRef("activity", 3, "ab" * 32)
OTHER = ModelRef("activity", 4, "cd" * 32)
PACE = Pace(interval_s=0.01, rows=100, row_bytes=4000, entry_bytes=2000, memory_rows=500)
DEADLINE_S = 300.0
EVERYTHING = (Kind.EVENT, Kind.RESULT, Kind.GAP, Kind.SAMPLE)


@pytest.fixture
def outbox(tmp_path: Path) -> Iterator[Outbox]:
    box = Outbox(tmp_path / "outbox.db", Caps(1 << 20, 1 << 20), ManualClock())
    yield box
    box.close()


def a_result(n: int, model: ModelRef = MODEL) -> PendingResult:
    return PendingResult(Result(model, n, n + 1.0, "x", 0.5, (0.5,), 1.0, 2.0, 3.0), n, None)


def stored(outbox: Outbox) -> list[dict[str, Any]]:
    entries = outbox.read(EVERYTHING, 1, outbox.next_seq, limit=100_000)
    return [json.loads(row) for entry in entries for row in entry.rows]


def a_writer(outbox: Outbox, pace: Pace = PACE) -> Writer:
    return Writer(outbox, pace, ManualClock(), lambda _: None)


def test_what_was_put_is_stored_in_order_and_announced(outbox: Outbox) -> None:
    announced = threading.Event()
    writer = Writer(outbox, PACE, ManualClock(), lambda _: announced.set())
    writer.start()
    for n in range(250):
        writer.put(a_result(n))
    assert writer.flush(DEADLINE_S)
    assert [row["window"] for row in stored(outbox)] == list(range(250))
    assert announced.wait(DEADLINE_S)
    assert writer.close(DEADLINE_S)


def test_a_single_row_does_not_wait_for_company(outbox: Outbox) -> None:
    announced = threading.Event()
    writer = Writer(outbox, PACE, ManualClock(), lambda _: announced.set())
    writer.start()
    writer.put(a_result(1))
    assert announced.wait(DEADLINE_S)
    assert len(stored(outbox)) == 1
    writer.close(DEADLINE_S)


def test_closing_stores_what_is_in_memory_and_takes_no_more(outbox: Outbox) -> None:
    writer = a_writer(outbox, Pace(3600.0, 10_000, 4000, 2000, 500))
    writer.start()
    for n in range(50):
        writer.put(a_result(n))
    assert writer.close(DEADLINE_S)
    assert len(stored(outbox)) == 50
    with pytest.raises(OutboxError, match="closed"):
        writer.put(a_result(51))


def test_rows_of_two_models_never_share_an_entry(outbox: Outbox) -> None:
    writer = a_writer(outbox)
    for n in range(10):
        writer.put(a_result(n, OTHER if n == 4 else MODEL))
    assert writer.store_now()
    entries = outbox.read((Kind.RESULT,), 1, 100)
    assert [(e.seq, e.last, e.model) for e in entries] == [
        (1, 4, MODEL),
        (5, 5, OTHER),
        (6, 10, MODEL),
    ]


def test_what_memory_cannot_hold_is_a_gap_that_says_so(outbox: Outbox) -> None:
    writer = a_writer(outbox)
    for n in range(520):
        writer.put(a_result(n))
    assert writer.pending == 520
    while writer.pending:
        assert writer.store_now()
    rows = stored(outbox)
    assert [row["window"] for row in rows[:500]] == list(range(500))
    assert rows[500]["kind"] == "gap"
    assert rows[500]["fields"] == {"count": 20, "reason": "memory full"}
    writer.put(a_result(600))
    assert writer.store_now()
    assert stored(outbox)[-1]["seq"] == 521


def test_a_full_disk_keeps_rows_in_memory_until_there_is_room(outbox: Outbox) -> None:
    outbox._db.execute("PRAGMA max_page_count=10")
    writer = a_writer(outbox)
    for n in range(400):
        writer.put(a_result(n))
    assert not writer.store_now()
    assert "no room" in str(writer.last_error)
    assert writer.pending == 400
    outbox._db.execute("PRAGMA max_page_count=100000")
    assert writer.store_now()
    assert (writer.pending, writer.last_error, writer.failures) == (0, None, 1)
    assert [row["window"] for row in stored(outbox)] == list(range(400))


def test_on_a_full_disk_a_new_row_is_no_reason_to_try_again_at_once(outbox: Outbox) -> None:
    outbox._db.execute("PRAGMA max_page_count=10")
    writer = a_writer(outbox)
    for n in range(400):
        writer.put(a_result(n))
    assert writer._hurry.is_set()
    writer._hurry.clear()
    assert not writer.store_now()
    writer.put(a_result(400))
    assert not writer._hurry.is_set()
    outbox._db.execute("PRAGMA max_page_count=100000")
    assert writer.store_now()
    for n in range(100):
        writer.put(a_result(n))
    assert writer._hurry.is_set()


def test_on_a_disk_that_stays_full_new_results_push_old_ones_out(tmp_path: Path) -> None:
    box = Outbox(tmp_path / "x.db", Caps(1 << 30, 0), ManualClock())
    box._db.execute("PRAGMA max_page_count=60")
    writer = a_writer(box)
    for n in range(5_000):
        writer.put(a_result(n))
        if n % 100 == 99:
            writer.store_now()
    for _ in range(100):
        if writer.store_now() and not writer.pending:
            break
    rows = stored(box)
    gaps = [row for row in rows if row.get("kind") == "gap"]
    assert {row["fields"]["reason"] for row in gaps} <= {"disk full", "memory full"}
    assert box.waiting.rows + box.waiting.missing == 5_000
    assert rows[-1].get("window") == 4_999 or rows[-1].get("kind") == "gap"
    box.close()


def test_a_database_that_breaks_is_replaced_and_what_memory_holds_is_kept(
    tmp_path: Path,
) -> None:
    path = tmp_path / "x.db"
    box = Outbox(path, Caps(1 << 20, 1 << 20), ManualClock())
    writer = a_writer(box)
    for n in range(400):
        writer.put(a_result(n))
    assert writer.store_now()
    box.close()
    box = Outbox(path, Caps(1 << 20, 1 << 20), ManualClock())
    old_id = box.id
    writer = a_writer(box)
    size = path.stat().st_size
    with path.open("r+b") as file:
        file.seek(4096)
        file.write(b"\xa5" * (size - 4096))
    box._db.execute("PRAGMA cache_size=0")
    writer.let_go(Spans(((1, 400),)), 400)
    writer.put(a_result(401))
    for _ in range(3):
        if writer.store_now() and not writer.pending:
            break
    rows = stored(box)
    assert box.id != old_id
    assert [row.get("kind", row.get("window")) for row in rows] == ["outbox_damaged", 401]
    box.close()


def test_acknowledgements_ride_with_the_next_rows(outbox: Outbox) -> None:
    writer = a_writer(outbox)
    for n in range(10):
        writer.put(a_result(n))
    writer.store_now()
    writer.let_go(Spans(((1, 5),)), 5)
    writer.let_go(Spans(((8, 10),)), 5)
    writer.put(a_result(10))
    writer.put(PendingEvent(1.0, "drift", {}))
    assert writer.store_now()
    assert outbox.mark == 5
    assert outbox.next_seq == 13


def test_waiting_for_an_empty_outbox_ends_with_the_last_acknowledgement(outbox: Outbox) -> None:
    writer = a_writer(outbox)
    writer.start()
    for n in range(10):
        writer.put(a_result(n))
    assert writer.flush(DEADLINE_S)
    assert not writer.wait_empty(0.05)
    timer = threading.Timer(0.05, lambda: writer.let_go(Spans(((1, 10),)), 10))
    timer.start()
    assert writer.wait_empty(DEADLINE_S)
    assert outbox.waiting.rows == 0
    writer.close(DEADLINE_S)


class Grudging:
    """A value that objects to being looked at."""

    def __str__(self) -> str:
        raise RuntimeError("no")


def test_what_has_a_key_is_told_once_whatever_is_killed_in_between(tmp_path: Path) -> None:
    path, caps = tmp_path / "x.db", Caps(1 << 20, 1 << 20)

    def told(*keys: tuple[str, int], stored: bool = True) -> int:
        box = Outbox(path, caps, ManualClock())
        writer = a_writer(box)
        for key in keys:
            writer.put(PendingEvent(1.0, "update", {"number": key[1]}, key))
        assert not stored or writer.store_now()
        taken = writer.standing().put
        box.close()
        return taken

    assert told(("a", 1), ("a", 2), ("b", 1)) == 3
    assert told(("a", 3), stored=False) == 1  # killed before the disk had it
    assert told(("a", 1), ("a", 2), ("a", 3), ("a", 3), ("b", 1)) == 1
    box = Outbox(path, caps, ManualClock())
    assert [row["fields"]["number"] for row in stored(box)] == [1, 2, 1, 3]
    box.rotate()
    assert box.told == {"a": 3, "b": 1}
    box.close()


def test_arrays_and_endless_numbers_in_a_row_are_stored(outbox: Outbox) -> None:
    writer = a_writer(outbox)
    extra = {"w": np.arange(3), "x": np.float32(0.5), "n": 10**5000, "d": {"deep": np.eye(2)}}
    writer.put(PendingResult(a_result(1).result, 1, extra))
    assert writer.store_now()
    assert stored(outbox)[0]["extra"] == {
        "w": [0, 1, 2], "x": 0.5, "n": None, "d": {"deep": [[1, 0], [0, 1]]},
    }  # fmt: skip


def test_a_row_that_cannot_be_encoded_is_a_gap_and_its_neighbours_are_rows(outbox: Outbox) -> None:
    writer = a_writer(outbox)
    writer.start()
    writer.put(a_result(1))
    writer.put(PendingResult(a_result(2).result, 2, {"w": Grudging()}))
    writer.put(PendingEvent(1.0, "drift", {"w": Grudging()}))
    writer.put(a_result(4, ModelRef("activity", 1 << 63, "ab" * 32)))
    writer.put(a_result(5))
    assert writer.flush(DEADLINE_S)
    rows = stored(outbox)
    assert [row.get("window", row.get("last")) for row in rows] == [1, 2, 3, 4, 5]
    reasons = [row["fields"]["reason"] for row in rows if row.get("kind") == "gap"]
    assert set(reasons) == {"cannot be encoded"}
    assert writer.close(DEADLINE_S)


def test_the_writer_outlives_an_error_that_nobody_thought_of(
    outbox: Outbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    commit, failed = outbox.commit, threading.Event()

    def fail(*_: object) -> Spans:
        failed.set()
        raise RuntimeError("never heard of it")

    monkeypatch.setattr(outbox, "commit", fail)
    writer = a_writer(outbox)
    writer.start()
    writer.put(a_result(1))
    assert failed.wait(DEADLINE_S)
    monkeypatch.setattr(outbox, "commit", commit)
    assert writer.flush(DEADLINE_S)
    assert writer.failures >= 1
    assert [row["window"] for row in stored(outbox)] == [1]
    assert writer.close(DEADLINE_S)


def test_at_every_moment_each_row_is_counted_once(
    outbox: Outbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    writer = a_writer(outbox)
    settle, seen = writer._settle, []

    def look(rows: int, overflowed: int) -> None:
        seen.append(writer.standing())
        settle(rows, overflowed)
        seen.append(writer.standing())

    monkeypatch.setattr(writer, "_settle", look)
    for n in range(30):
        writer.put(a_result(n))
        if n % 7 == 0:
            assert writer.store_now()
    assert len(seen) > 8
    assert all(s.put == s.pending + s.waiting.rows for s in seen)


def test_a_time_that_is_not_finite_never_reaches_the_disk_as_a_row(outbox: Outbox) -> None:
    writer = a_writer(outbox)
    writer.put(PendingResult(a_result(1).result._replace(start_s=math.nan), 1, None))
    assert writer.store_now()
    assert stored(outbox)[0]["fields"]["reason"] == "cannot be encoded"


def test_samples_fill_only_their_own_part_of_the_memory(outbox: Outbox) -> None:
    writer = a_writer(outbox)
    sample = PendingSample(a_result(0).result, np.zeros((4, 2), np.float32), "one in 5")
    for _ in range(PACE.memory_samples + 6):
        writer.put(sample)
    writer.put(a_result(1))
    while writer.standing().pending:
        assert writer.store_now()
    rows = stored(outbox)
    assert sum("npy" in row for row in rows) == PACE.memory_samples
    assert sum("window" in row for row in rows) == 1
    assert [row["fields"]["count"] for row in rows if "kind" in row] == [6]
    writer.put(sample)
    assert writer.store_now()
    assert sum("npy" in row for row in stored(outbox)) == PACE.memory_samples + 1
