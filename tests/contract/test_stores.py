"""What every store of a fleet must do, whatever it keeps its rows in."""

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import cast

import pytest

from edgeml.errors import StoreError
from edgeml.fleet.sqlite_schema import STEPS
from edgeml.fleet.sqlite_store import SQLiteStore, open_existing
from edgeml.fleet.store import Delivered, Intake, Letter, Progress, Store, UnstorableError
from edgeml.result import ModelRef
from edgeml.sync.batches import Batch, EventRow, ResultRow
from edgeml.sync.messages import State
from edgeml.sync.spans import Spans

MODEL = ModelRef("activity", 3, "ab" * 32)
Opener = Callable[[], Store]


@pytest.fixture(params=["sqlite"])
def opener(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Opener]:
    opened: list[Store] = []

    def open_store() -> Store:
        opened.append(SQLiteStore(tmp_path / "store.db"))
        return opened[-1]

    yield open_store
    for store in opened:
        store.close()


@pytest.fixture
def store(opener: Opener) -> Store:
    return opener()


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


def seqs(store: Store, device: str | None = None) -> list[int]:
    return [row["seq"] for row in store.results(device)]


def test_rows_are_stored_once_however_often_they_come(store: Store) -> None:
    assert take(store, results(1, 2, 3)).mark == 3
    again = store.commit(Intake(batches=[Delivered("pump-7", results(2, 3, 4))]), 100.0)
    assert (again.new_rows, again.known_rows) == (1, 2)
    assert again.progress == (Progress("pump-7", "box", 4, Spans()),)
    assert seqs(store) == [1, 2, 3, 4]


def test_the_mark_waits_for_a_hole_and_names_what_lies_beyond(store: Store) -> None:
    assert take(store, results(4, 5)) == Progress("pump-7", "box", 0, Spans(((4, 5),)))
    assert take(store, results(9)) == Progress("pump-7", "box", 0, Spans(((4, 5), (9, 9))))
    assert take(store, results(1, 2, 3)) == Progress("pump-7", "box", 5, Spans(((9, 9),)))
    assert take(store, gap(6, 8)) == Progress("pump-7", "box", 9, Spans())
    assert seqs(store) == [1, 2, 3, 4, 5, 9]


def test_a_gap_is_recorded_only_where_the_store_has_nothing(store: Store) -> None:
    take(store, results(3, 4))
    assert take(store, gap(1, 6)).mark == 6
    assert [(g["first"], g["last"], g["reason"]) for g in store.gaps()] == [
        (1, 2, "disk cap"),
        (5, 6, "disk cap"),
    ]


def test_a_gap_that_grew_is_recorded_by_its_new_part(store: Store) -> None:
    take(store, gap(1, 3))
    take(store, gap(1, 5))
    assert [(g["first"], g["last"]) for g in store.gaps()] == [(1, 3), (4, 5)]


def test_what_was_declared_lost_stays_lost(store: Store) -> None:
    take(store, gap(1, 3))
    take(store, results(2, 4))
    assert seqs(store) == [4]


def test_devices_and_outboxes_are_told_apart(store: Store) -> None:
    take(store, results(1, 2))
    take(store, results(1), device="pump-8")
    take(store, Batch("other", MODEL, results=results(1).results))
    assert seqs(store, "pump-7") == [1, 2, 1]
    assert store.progress("pump-7", "other").mark == 1
    assert store.progress("pump-8", "box").mark == 1
    assert store.progress("pump-9", "box") == Progress("pump-9", "box", 0, Spans())


def test_the_current_outbox_is_the_one_heard_last(store: Store) -> None:
    take(store, results(1, 2), at_s=100.0)
    take(store, Batch("other", MODEL, results=results(1).results), at_s=200.0)
    assert store.current() == [Progress("pump-7", "other", 1, Spans())]


def test_a_store_opened_again_knows_what_it_knew(opener: Opener) -> None:
    first = opener()
    take(first, results(1, 2, 5))
    assert opener().progress("pump-7", "box") == Progress("pump-7", "box", 2, Spans(((5, 5),)))


def test_what_was_pruned_does_not_come_back_as_a_duplicate(store: Store) -> None:
    take(store, results(1, 2), at_s=100.0)
    take(store, results(3), gap(4, 5), at_s=200.0)
    assert store.prune(150.0) == 2
    assert seqs(store) == [3]
    assert take(store, results(1, 2, 6), at_s=300.0).mark == 6
    assert seqs(store) == [3, 6]
    assert len(store.gaps()) == 1


def test_two_ingests_share_a_store(opener: Opener) -> None:
    one, two = opener(), opener()
    take(one, results(1, 3))
    take(two, results(2))
    assert take(one, results(3)) == Progress("pump-7", "box", 3, Spans())
    assert seqs(two) == [1, 2, 3]


def test_rows_come_back_as_they_were_sent(store: Store) -> None:
    take(store, results(7), at_s=123.0)
    row = next(iter(store.results()))
    assert row["device"] == "pump-7"
    assert (row["start_s"], row["end_s"], row["label"], row["score"]) == (7, 8, "walking", 0.5)
    assert (row["outputs"], row["extra"]) == ("[0.5, null]", '{"truth": "walking"}')
    assert (row["window"], row["received_s"]) == (70, 123.0)
    assert (row["model"], row["model_version"], row["model_digest"]) == ("activity", 3, "ab" * 32)


def test_an_older_state_never_hides_a_newer_one(store: Store) -> None:
    birth = State(True, "pump-7", "box", (2, 5), 50.0, "0.1.0", MODEL)
    late_will = State(False, "pump-7", "box", (2, 4), 60.0, "0.1.0")
    store.commit(Intake(states=[birth]), 100.0)
    store.commit(Intake(states=[late_will]), 101.0)
    assert [d.online for d in store.status()] == [True]
    store.commit(Intake(states=[State(False, "pump-7", "box", (2, 5), 70.0, "0.1.0")]), 102.0)
    assert [(d.online, d.model) for d in store.status()] == [(False, "activity@3")]
    store.commit(Intake(states=[State(True, "pump-7", "new box", (1, 1), 80.0, "0.1.0")]), 103.0)
    assert [d.online for d in store.status()] == [True]


def test_the_status_counts_what_is_there_what_is_lost_and_what_has_not_come(store: Store) -> None:
    take(store, results(1, 2), gap(3, 5), results(9))
    store.commit(Intake(healths=[("pump-7", {"delivery": {"waiting_rows": 4}})]), 100.0)
    status = store.status()[0]
    assert (status.results, status.missing, status.unaccounted) == (3, 3, 3)
    assert (status.last_result_s, status.last_label) == (10.0, "walking")
    assert status.health == {"delivery": {"waiting_rows": 4}}


def test_letters_keep_the_message_and_the_reason(store: Store) -> None:
    store.commit(Intake(letters=[Letter("edgeml/1/f/d/x/results", b"\xff{", "not JSON")]), 100.0)
    letter = store.letters()[0]
    assert (letter["topic"], letter["payload"], letter["reason"]) == (
        "edgeml/1/f/d/x/results", b"\xff{", "not JSON",
    )  # fmt: skip


def test_an_intake_goes_in_whole_or_not_at_all(store: Store) -> None:
    bad = Batch("box", MODEL, results=(results(2).results[0].__class__(
        1 << 70, 0.0, 1.0, None, None, (), 0.0, 0.0, 0.0, None, None),))  # fmt: skip
    with pytest.raises(UnstorableError):
        take(store, results(1), bad)
    assert seqs(store) == []
    assert store.progress("pump-7", "box").mark == 0
    take(store, results(1))
    assert seqs(store) == [1]


def test_events_and_dead_letters_are_pruned_and_gap_records_stay(store: Store) -> None:
    drift = Batch("box", None, events=(EventRow(3, 3, 5.0, "drift", {}),))
    take(store, results(1, 2), drift, gap(4, 5), at_s=100.0)
    store.commit(Intake(letters=[Letter("t", b"x", "y")]), 100.0)
    take(store, results(6), at_s=200.0)
    assert store.prune(150.0) == 3
    assert seqs(store) == [6]
    assert store.letters() == []
    assert len(store.gaps()) == 1
    assert take(store, drift, at_s=300.0) == Progress("pump-7", "box", 6, Spans())


def test_a_row_that_the_tables_refuse_is_not_counted_as_stored(store: Store) -> None:
    whole = results(1).results[0]
    bad = Batch("box", MODEL, results=(replace(whole, end_s=cast("float", None)),))
    with pytest.raises(UnstorableError):
        take(store, bad)
    assert store.progress("pump-7", "box").mark == 0


def test_a_store_of_a_later_edgeml_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "store.db"
    store = SQLiteStore(path)
    store._db.execute(f"PRAGMA user_version={len(STEPS) + 1}")
    store.close()
    with pytest.raises(StoreError, match="upgrade"):
        SQLiteStore(path)


def test_a_store_that_is_not_there_is_not_made_by_looking(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="there is no store"):
        open_existing(tmp_path / "none.db")
    assert not (tmp_path / "none.db").exists()


def test_a_file_that_is_no_store_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "store.db"
    path.write_bytes(b"not a database at all" * 100)
    with pytest.raises(StoreError):
        SQLiteStore(path)
