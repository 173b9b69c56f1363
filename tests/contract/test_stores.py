"""What every store of a fleet must do, whatever it keeps its rows in."""

import json
import random
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import cast

import numpy as np
import pytest

from edgeml.fleet.batches import Batch, EventRow
from edgeml.fleet.samplerows import SampleRow
from edgeml.fleet.store import Delivered, Intake, Letter, Progress, Store, UnstorableError
from edgeml.fleet.stores import open_store
from edgeml.npy import read_npy, write_npy
from edgeml.result import ModelRef
from edgeml.sync.messages import State
from edgeml.sync.spans import Spans

from .storing import MODEL, gap, results, take

Opener = Callable[[], Store]


KINDS = ["sqlite", pytest.param("postgresql", marks=pytest.mark.workstation)]


@pytest.fixture(params=KINDS)
def place(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """Where a store may be: what `--store` takes."""
    if request.param == "sqlite":
        return str(tmp_path / "store.db")
    return str(request.getfixturevalue("postgres_url"))


@pytest.fixture
def opener(place: str) -> Iterator[Opener]:
    opened: list[Store] = []

    def open_one() -> Store:
        opened.append(open_store(place, create=True))
        return opened[-1]

    yield open_one
    for store in opened:
        store.close()


@pytest.fixture
def store(opener: Opener) -> Store:
    return opener()


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


def note_state(store: Store, state: State, at_s: float) -> None:
    intake = Intake()
    intake.note_state(state)
    store.commit(intake, at_s)


def test_an_older_state_never_hides_a_newer_one(store: Store) -> None:
    birth = State(True, "pump-7", "box", (2, 5), 50.0, "0.1.0", MODEL)
    late_will = State(False, "pump-7", "box", (2, 4), 60.0, "0.1.0")
    note_state(store, birth, 100.0)
    note_state(store, late_will, 101.0)
    assert [d.online for d in store.status()] == [True]
    note_state(store, State(False, "pump-7", "box", (2, 5), 70.0, "0.1.0"), 102.0)
    assert [(d.online, d.model) for d in store.status()] == [(False, "activity@3")]
    note_state(store, State(True, "pump-7", "new box", (1, 1), 80.0, "0.1.0"), 103.0)
    assert [d.online for d in store.status()] == [True]


def test_the_status_counts_what_is_there_what_is_lost_and_what_has_not_come(store: Store) -> None:
    take(store, results(1, 2), gap(3, 5), results(9))
    store.commit(Intake(healths={"pump-7": {"delivery": {"waiting_rows": 4}}}), 100.0)
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


def test_what_comes_twice_in_one_intake_is_stored_once(store: Store) -> None:
    twice = Batch("box", MODEL, results=(*results(2, 1).results, *results(2).results))
    committed = store.commit(
        Intake(batches=[Delivered("pump-7", b) for b in (twice, results(1, 2, 3), gap(3, 5))]),
        100.0,
    )
    assert committed.progress == (Progress("pump-7", "box", 5, Spans()),)
    assert (committed.new_rows, committed.known_rows) == (4, 3)
    assert seqs(store) == [1, 2, 3]
    assert [(g["first"], g["last"]) for g in store.gaps()] == [(4, 5)]


def test_a_duplicate_of_another_day_is_a_duplicate(store: Store) -> None:
    day_s = 86_400.0
    take(store, results(1, 2), at_s=day_s - 1)
    take(store, results(1, 2, 3), at_s=day_s + 1)
    take(store, results(2, 3, 4), at_s=900 * day_s)
    assert seqs(store) == [1, 2, 3, 4]
    assert [row["received_s"] for row in store.results()] == [
        day_s - 1, day_s - 1, day_s + 1, 900 * day_s,
    ]  # fmt: skip


def test_whole_days_are_pruned_and_later_ones_stay(store: Store) -> None:
    day_s = 86_400.0
    for day in (10, 11, 12):
        take(store, results(day), at_s=day * day_s + 5)
    assert store.prune(12 * day_s) == 2
    assert seqs(store) == [12]
    assert store.status()[0].results == 1
    assert take(store, results(10, 13), at_s=13 * day_s).above == Spans(((10, 13),))
    assert seqs(store) == [12, 13]
    assert store.prune(0.0) == 0


@pytest.mark.parametrize("at_s", [-1e6, 0.0, 4e9, 1e18])
def test_whatever_the_ingests_clock_says_rows_are_stored(store: Store, at_s: float) -> None:
    assert take(store, results(1, 2), at_s=at_s).mark == 2
    assert seqs(store) == [1, 2]


@pytest.mark.parametrize("time_s", [-1e18, 0.0, 1e18, 1.7e308])
def test_whatever_a_devices_clock_says_its_rows_are_stored(store: Store, time_s: float) -> None:
    row = replace(results(1).results[0], start_s=time_s, end_s=time_s)
    drift = EventRow(2, 2, time_s, "drift", {})
    take(store, Batch("box", MODEL, results=(row,)), Batch("box", None, events=(drift,)))
    assert [(r["start_s"], r["end_s"]) for r in store.results()] == [(time_s, time_s)]
    assert store.progress("pump-7", "box").mark == 2


def test_text_of_any_kind_is_stored_and_never_stops_the_stream(store: Store) -> None:
    row = replace(results(1).results[0], label="a\0b\t\\N\n😀", extra={"a\0": ["\0", "\t"]})
    event = EventRow(2, 2, 5.0, "kind\0", {"\0": "\0"})
    take(store, Batch("box", MODEL, results=(row,)), Batch("box", None, events=(event,)))
    take(store, gap(3, 4, "rea\0son"))
    store.commit(Intake(letters=[Letter("t\0", b"\0", "r\0")]), 100.0)
    stored = next(iter(store.results()))
    assert stored["label"].replace("\ufffd", "\0") == row.label
    assert json.loads(stored["extra"]) == row.extra
    assert len(store.letters()) == len(store.gaps()) == 1


def test_what_no_index_takes_is_refused_for_good(store: Store) -> None:
    """A name as long as a novel: stored or refused, never an error that would be tried again."""
    name = random.Random(1).randbytes(10_000).hex()
    with suppress(UnstorableError):
        take(store, Batch(name, MODEL, results=results(1).results))
    with suppress(UnstorableError):
        take(store, Batch("box", ModelRef(name, 1, "00"), results=results(1).results))
    assert take(store, results(2, 3)).device == "pump-7"


def test_many_holes_come_and_go(store: Store) -> None:
    odd = range(1, 2_001, 2)
    progress = take(store, *(results(n) for n in odd))
    assert (progress.mark, len(progress.above.ranges)) == (1, 999)
    assert store.status()[0].unaccounted == 999
    assert take(store, *(results(n + 1) for n in odd)).mark == 2_000
    assert store.status()[0].unaccounted == 0


def test_the_status_says_when_a_device_last_said_how_it_is(store: Store) -> None:
    take(store, results(1), at_s=50.0)
    assert store.status()[0].health_s is None
    store.commit(Intake(healths={"pump-7": {"a": 1}}), 100.0)
    take(store, results(2), at_s=200.0)
    status = store.status()[0]
    assert (status.health_s, status.seen_s) == (100.0, 200.0)


def test_ingests_at_the_same_time_neither_lose_nor_double_nor_lock_each_other_out(
    opener: Opener,
) -> None:
    """Two of them get the same batches of the same outboxes, in opposite orders."""
    outboxes = [f"box{n}" for n in range(6)]
    stores = [opener(), opener()]

    def ingest(store: Store, order: int) -> None:
        step = order or -1
        for first in range(1, 40):
            batches = [
                Delivered(f"pump-{n % 3}", replace(results(first, first + 1), outbox=outbox))
                for n, outbox in enumerate(outboxes)
            ]
            intake = Intake(batches[::step])
            intake.note_state(State(True, "pump-0", outboxes[order], (1, first), 0.0, "0"))
            for n in (0, 1, 2)[::step]:
                intake.note_health(f"pump-{n}", {"n": first})
            store.commit(intake, 100.0 + first)

    with ThreadPoolExecutor() as pool:
        for done in [pool.submit(ingest, store, n) for n, store in enumerate(stores)]:
            done.result(300.0)
    assert seqs(stores[0]) == list(range(1, 41)) * 6
    assert [d.results for d in stores[1].status()] == [80, 80, 80]


def test_the_counts_of_the_status_are_those_of_the_rows(store: Store) -> None:
    """Counted as they come, because to count them all would take the longer the more there are."""
    rng = random.Random(5)
    for step in range(60):
        outbox = rng.choice(("one", "two"))
        first = rng.randint(1, 60)
        if rng.random() < 0.3:
            batch = gap(first, first + rng.randint(0, 5))
        else:
            batch = results(*range(first, first + rng.randint(1, 6)))
        take(store, replace(batch, outbox=outbox), at_s=1000.0 * step)
        if step == 40:
            store.prune(20_000.0)
    status = store.status()[0]
    assert status.results == len(seqs(store))
    assert status.missing == sum(g["last"] - g["first"] + 1 for g in store.gaps())


def samples(*seqs: int) -> Batch:
    rows = tuple(
        SampleRow(n, n, n + 1.0, "walking", 0.4, "score below 0.6", write_npy(np.full((3, 2), n)))
        for n in seqs
    )
    return Batch("box", MODEL, samples=rows)


def test_samples_share_the_numbers_and_are_stored_once(store: Store) -> None:
    assert take(store, results(1, 2), samples(3)).mark == 3
    again = store.commit(Intake(batches=[Delivered("pump-7", samples(3, 5))]), 100.0)
    assert (again.new_rows, again.known_rows) == (1, 1)
    assert take(store, gap(4, 4)).mark == 5
    kept = list(store.samples())
    assert [row["seq"] for row in kept] == [3, 5]
    assert [read_npy(row["npy"])[0, 0] for row in kept] == [3, 5]
    first = kept[0]
    assert (first["device"], first["model"], first["model_version"]) == ("pump-7", "activity", 3)
    assert (first["label"], first["score"], first["reason"]) == ("walking", 0.4, "score below 0.6")
    assert list(store.samples("another")) == []
    assert seqs(store) == [1, 2]
    assert store.status()[0].results == 2


def test_samples_are_deleted_by_age_and_do_not_come_back(store: Store) -> None:
    take(store, samples(1), at_s=100.0)
    take(store, samples(2), at_s=200_000.0)
    assert store.prune(150_000.0) == 1
    assert [row["seq"] for row in store.samples()] == [2]
    assert take(store, samples(1), at_s=300_000.0).mark == 2
    assert [row["seq"] for row in store.samples()] == [2]
