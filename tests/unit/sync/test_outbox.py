"""Nothing leaves the disk but what was acknowledged, and what a cap forces out leaves a record."""

import json
import sqlite3
from pathlib import Path

import numpy as np
import pytest

from edgeml.clock import ManualClock
from edgeml.errors import OutboxError
from edgeml.sync.entries import Caps, Entry, Kind, spans_of
from edgeml.sync.outbox import Outbox
from edgeml.sync.pending import PendingSample
from edgeml.sync.spans import Spans

from .outboxes import CAPS, MODEL, a_result, a_sample, an_event, everything, gaps, store


def test_rows_are_numbered_without_a_hole_and_read_back_as_written(outbox: Outbox) -> None:
    store(outbox, *(a_result(n) for n in range(50)), an_event(50), a_result(51))
    entries = everything(outbox)
    assert spans_of(entries) == Spans(((1, 52),))
    rows = [json.loads(row) for entry in entries for row in entry.rows]
    assert [row["seq"] for row in rows] == list(range(1, 53))
    assert {entry.kind for entry in entries} == {Kind.RESULT, Kind.EVENT}
    assert all(entry.model == (MODEL if entry.kind is Kind.RESULT else None) for entry in entries)


def test_an_opened_outbox_goes_on_where_the_closed_one_ended(
    tmp_path: Path, clock: ManualClock
) -> None:
    first = Outbox(tmp_path / "x.db", CAPS, clock)
    store(first, *(a_result(n) for n in range(10)))
    first.commit([], Spans(((1, 10),)), mark=10)
    first.close()
    second = Outbox(tmp_path / "x.db", CAPS, clock)
    assert (second.id, second.next_seq, second.mark, second.boots) == (first.id, 11, 10, 2)
    assert second.waiting.rows == 0
    second.close()


def test_only_what_is_acknowledged_whole_leaves(outbox: Outbox) -> None:
    store(outbox, *(a_result(n) for n in range(5)))
    store(outbox, *(a_result(n) for n in range(5)))
    outbox.commit([], Spans(((1, 7),)))
    assert spans_of(everything(outbox)) == Spans(((6, 10),))
    assert outbox.waiting.rows == 5
    outbox.commit([], Spans(((6, 10),)))
    assert everything(outbox) == []
    assert outbox.waiting.bytes == 0


def test_a_full_outbox_gives_up_the_oldest_results_and_says_which(
    tmp_path: Path, clock: ManualClock
) -> None:
    box = Outbox(tmp_path / "x.db", Caps(results_bytes=10_000, events_bytes=10_000), clock)
    store(box, an_event(0))
    for n in range(20):
        store(box, *(a_result(n) for _ in range(10)))
    assert box.waiting.bytes <= 10_000 + 5_000
    held = spans_of(everything(box))
    assert held == Spans(((1, 201),))
    assert len(gaps(box)) == 1
    first, last, reason = gaps(box)[0]
    assert (first, reason) == (2, "disk cap")
    assert box.waiting.missing == last - first + 1
    assert box.waiting.rows == 201 - box.waiting.missing
    assert everything(box)[0].kind is Kind.EVENT
    box.close()


def test_gaps_grow_over_their_neighbours_but_not_over_rows_that_stayed(
    tmp_path: Path, clock: ManualClock
) -> None:
    box = Outbox(tmp_path / "x.db", Caps(results_bytes=3_000, events_bytes=10_000), clock)
    for n in range(30):
        store(box, *(a_result(n) for _ in range(3)))
        if n == 4:
            store(box, an_event(n))
    assert gaps(box)[0][:2] == (1, 15)
    assert gaps(box)[1][0] == 17
    assert len(gaps(box)) == 2
    assert spans_of(everything(box)) == Spans(((1, 91),))
    box.close()


def test_age_counts_running_time_whatever_the_wall_clock_does(
    tmp_path: Path, clock: ManualClock
) -> None:
    box = Outbox(tmp_path / "x.db", Caps(1 << 20, 1 << 20, max_age_s=100.0), clock)
    store(box, a_result(1))
    clock.step_wall(20 * 365 * 86_400)
    clock.advance(60)
    store(box, a_result(2))
    assert gaps(box) == []
    assert box.oldest_age_s() == 60
    clock.advance(60)
    store(box, a_result(3))
    assert gaps(box) == [(1, 1, "age")]
    box.close()


def test_a_row_too_large_to_send_becomes_a_gap(outbox: Outbox) -> None:
    store(outbox, a_result(1), a_result(2, label="x" * 5000), a_result(3))
    assert gaps(outbox) == [(2, 2, "row too large")]
    assert spans_of(everything(outbox)) == Spans(((1, 3),))


def test_entries_longer_than_the_broker_takes_are_cut(outbox: Outbox) -> None:
    store(outbox, *(a_result(n) for n in range(9)), a_result(9, label="x" * 1500))
    assert outbox.split(1000) == Spans(((10, 10),))
    assert all(len(entry.body) <= 1000 for entry in everything(outbox))
    assert spans_of(everything(outbox)) == Spans(((1, 10),))
    assert [json.loads(e.body)["seq"] for e in everything(outbox)] == list(range(1, 11))


def test_an_audit_names_what_is_neither_here_nor_there(outbox: Outbox) -> None:
    store(outbox, *(a_result(n) for n in range(10)))
    store(outbox, *(a_result(n) for n in range(10)))
    outbox.commit([], Spans(((1, 10),)), mark=10)
    lost = outbox.audit(Spans(((1, 4), (8, 8))), horizon=20, reason="the store lost it")
    assert lost == Spans(((5, 7), (9, 10)))
    assert gaps(outbox) == [(5, 7, "the store lost it"), (9, 10, "the store lost it")]
    assert outbox.audit(Spans(((1, 4), (8, 8))), 20, "x") == Spans()


def test_an_audit_judges_no_further_than_its_horizon(outbox: Outbox) -> None:
    store(outbox, *(a_result(n) for n in range(10)))
    outbox.commit([], Spans(((1, 10),)), mark=10)
    assert outbox.audit(Spans(), horizon=3, reason="x") == Spans(((1, 3),))


def test_an_old_copy_becomes_another_outbox_with_the_same_rows(outbox: Outbox) -> None:
    store(outbox, *(a_result(n) for n in range(30)), an_event(30))
    outbox.commit([], Spans(((1, 14),)), mark=14)
    before = [json.loads(row) for e in everything(outbox) for row in e.rows]
    old_id = outbox.id
    outbox.rotate()
    after = [json.loads(row) for e in everything(outbox) for row in e.rows]
    assert outbox.id != old_id
    assert [row.pop("seq") for row in after] == list(range(1, len(after) + 1))
    assert [row.pop("seq") for row in before][-1] == 31
    assert after == before
    assert outbox.next_seq == len(after) + 1


def test_a_commit_that_fails_changes_nothing(outbox: Outbox) -> None:
    store(outbox, a_result(1))
    wrong = [Entry(1, 1, Kind.RESULT, MODEL, b"{}")]
    with pytest.raises(OutboxError):
        outbox.commit(wrong, Spans(((1, 1),)))
    assert (outbox.waiting.rows, outbox.next_seq) == (1, 2)
    store(outbox, a_result(2))
    assert spans_of(everything(outbox)) == Spans(((1, 2),))


def test_space_is_given_back_after_the_rows_left(outbox: Outbox) -> None:
    for n in range(100):
        store(outbox, *(a_result(n) for n in range(100)))
    outbox._db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    full = outbox.path.stat().st_size
    outbox.commit([], Spans(((1, 10_000),)))
    outbox.commit([], Spans())
    outbox._db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    assert outbox.path.stat().st_size < full


def test_what_fails_after_the_commit_does_not_store_the_rows_twice(
    outbox: Outbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail() -> None:
        raise sqlite3.OperationalError("database or disk is full")

    monkeypatch.setattr(outbox, "_tidy", fail)
    store(outbox, a_result(1))
    assert outbox.next_seq == 2
    assert spans_of(everything(outbox)) == Spans(((1, 1),))


def test_gaps_that_touch_on_either_side_grow_together(tmp_path: Path, clock: ManualClock) -> None:
    box = Outbox(tmp_path / "x.db", Caps(results_bytes=2_000, events_bytes=2_000), clock)
    box._db.execute("PRAGMA synchronous=OFF")
    for n in range(1_000):
        store(box, a_result(n), an_event(n))
    assert spans_of(everything(box)) == Spans(((1, 2_000),))
    assert len(gaps(box)) <= box.waiting.rows + 1 < 100
    assert {reason for *_, reason in gaps(box)} == {"disk cap"}
    box.close()


def test_very_many_gaps_are_told_apart_no_more(
    outbox: Outbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("edgeml.sync.entrytable._GAPS_TOLD_APART", 10)
    store(outbox, *(a_result(n) for n in range(100)))
    outbox.commit([], Spans(((1, 100),)))
    for n in range(1, 101):
        outbox.audit(Spans(((n + 1, 100),)), n, f"reason {n}")
    assert spans_of(everything(outbox)) == Spans(((1, 100),))
    assert len(gaps(outbox)) <= 12
    assert gaps(outbox)[-1][2] == "several"


def test_no_gap_reaches_from_what_is_vouched_for_to_what_is_not(
    tmp_path: Path, clock: ManualClock
) -> None:
    """It would be sent for its beginning, and tell the store of numbers that may not be sent."""
    caps = Caps(results_bytes=1_000, events_bytes=10_000)
    box = Outbox(tmp_path / "x.db", caps, clock)
    for n in range(10):
        store(box, *(a_result(n) for _ in range(3)))
    box.close()
    box = Outbox(tmp_path / "x.db", caps, clock)
    assert box.vouched == 30
    for n in range(20):
        store(box, *(a_result(n) for _ in range(3)))
    assert gaps(box)[0][:2] == (1, 30)
    assert gaps(box)[1][0] == 31
    box.vouch()
    store(box, *(a_result(n) for n in range(30)))
    assert len(gaps(box)) == 2
    assert spans_of(everything(box)) == Spans(((1, 120),))
    box.close()


def test_samples_have_a_cap_of_their_own_and_take_no_room_from_results(
    tmp_path: Path, clock: ManualClock
) -> None:
    caps = Caps(results_bytes=1 << 20, events_bytes=1 << 20, samples_bytes=2_000)
    box = Outbox(tmp_path / "x.db", caps, clock)
    for n in range(20):
        store(box, a_result(n), a_sample(n), an_event(n))
    kinds = [entry.kind for entry in everything(box)]
    assert (kinds.count(Kind.RESULT), kinds.count(Kind.EVENT)) == (20, 20)
    assert 0 < kinds.count(Kind.SAMPLE) < 10
    assert {reason for _, _, reason in gaps(box)} == {"disk cap"}
    assert {(last - 2) % 3 for _, last, _ in gaps(box)} == {0}
    assert spans_of(everything(box)) == Spans(((1, 60),))
    box.close()


def test_a_full_disk_takes_samples_before_any_result(outbox: Outbox) -> None:
    store(outbox, *(a_result(n) for n in range(5)))
    store(outbox, *(a_sample(n) for n in range(5)))
    assert outbox.evict(1.0) == Spans(((6, 10),))
    assert outbox.evict(1.0) == Spans(((1, 5),))


def test_old_samples_go_with_old_results(tmp_path: Path, clock: ManualClock) -> None:
    box = Outbox(tmp_path / "x.db", Caps(1 << 20, 1 << 20, max_age_s=100.0), clock)
    store(box, a_result(0), a_sample(0))
    clock.advance(101.0)
    assert store(box, a_result(1)) == Spans(((1, 2),))
    box.close()


def test_a_sample_that_no_message_can_carry_leaves_a_gap(outbox: Outbox) -> None:
    large = PendingSample(a_result(0).result, np.zeros((100, 100), np.float32), "one in 5")
    store(outbox, a_result(0), large, a_result(1))
    assert gaps(outbox) == [(2, 2, "row too large")]
