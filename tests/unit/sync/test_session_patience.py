"""How long a message is waited for, and for whose company a new one waits."""

import pytest

from edgeml.sync import flow

from .bench import Bench


def answered_late(bench: Bench, took_s: float, times: int) -> None:
    """One result after the other, each confirmed so late."""
    for _ in range(times):
        bench.commit(bench.session.next_seq + 1)
        bench.now_s += took_s
        bench.ack(bench.session.next_seq - 1)
        bench.tell(flow.Tick())


def answered_by_now() -> Bench:
    """Twenty results are at home, each after a second; messages of three rows are full."""
    bench = Bench(per_batch=3, full_rows=3)
    bench.tell(flow.Up(100))
    answered_late(bench, 1.0, times=20)
    bench.sent.clear()
    return bench


def test_who_is_always_answered_late_waits_longer_before_sending_again() -> None:
    bench = Bench()
    bench.tell(flow.Up(100))
    answered_late(bench, 12.0, times=20)
    bench.commit(22)
    due_s = bench.session.next_deadline_s()
    assert due_s is not None
    assert due_s - bench.now_s > 12.0
    assert bench.session.resends == 0


def test_what_was_late_among_others_is_waited_for_twice_as_long() -> None:
    """Else a confirmation that always takes longer than the patience would never be measured."""
    bench = Bench(rows=20)
    bench.tell(flow.Up(100))
    bench.ack(0)
    bench.now_s = 6.0
    bench.tell(flow.Tick())
    bench.ack(0, (11, 20))
    due_s = bench.session.next_deadline_s()
    assert due_s is not None
    bench.now_s = due_s
    bench.tell(flow.Tick())
    assert bench.ranges()[-1] == (1, 10)
    assert bench.session.next_deadline_s() == due_s + 2 * due_s


def test_a_patience_that_grew_shrinks_when_answers_are_quick_again() -> None:
    bench = Bench()
    bench.tell(flow.Up(100))
    answered_late(bench, 9.0, times=5)
    answered_late(bench, 0.1, times=50)
    bench.commit(57)
    due_s = bench.session.next_deadline_s()
    assert due_s is not None
    assert due_s - bench.now_s == pytest.approx(10.0)


def test_a_doubled_patience_stays_until_a_message_that_was_sent_once_is_answered() -> None:
    """The answer to a message that went out twice may be the answer to the first of them."""
    bench = Bench()
    bench.tell(flow.Up(100))
    answered_late(bench, 1.0, times=20)
    bench.commit(22)
    for _ in range(3):
        bench.now_s = bench.session.next_deadline_s() or 0.0
        bench.tell(flow.Tick())
    bench.ack(21)
    bench.commit(23)
    assert bench.session.next_deadline_s() == bench.now_s + 40.0
    bench.ack(22)
    bench.commit(24)
    assert bench.session.next_deadline_s() == bench.now_s + 10.0


def test_new_results_wait_for_company_while_the_last_of_them_are_unanswered() -> None:
    bench = answered_by_now()
    bench.commit(22)
    bench.commit(23)
    bench.commit(24)
    assert bench.ranges() == [(21, 21)]
    bench.ack(21)
    assert bench.ranges() == [(21, 21), (22, 23)]


def test_as_many_new_results_as_fill_a_message_go_at_once() -> None:
    bench = answered_by_now()
    bench.commit(22)
    bench.commit(25)
    assert bench.ranges() == [(21, 21), (22, 24)]


def test_a_message_that_is_lost_delays_the_next_no_longer_than_an_answer_takes() -> None:
    bench = answered_by_now()
    bench.commit(22)
    bench.commit(23)
    due_s = bench.session.next_deadline_s()
    assert due_s is not None
    assert due_s - bench.now_s == pytest.approx(1.0, abs=0.1)
    bench.now_s = due_s
    bench.tell(flow.Tick())
    assert bench.ranges() == [(21, 21), (22, 22)]
    assert bench.session.next_deadline_s() != due_s


def test_events_and_the_backlog_wait_for_no_company() -> None:
    bench = Bench(rows=3, per_batch=3, full_rows=3)
    bench.tell(flow.Up(100))
    bench.now_s += 1.0
    bench.ack(3)
    bench.commit(5)
    bench.events = {5}
    bench.commit(6)
    assert bench.ranges() == [(1, 3), (4, 4), (5, 5)]


def test_with_ack_broker_an_answer_ends_the_probing() -> None:
    bench = Bench(rows=40, by_fleet=False)
    bench.tell(flow.Up(100))
    bench.now_s = 10.0
    bench.tell(flow.Tick())
    assert bench.session.in_flight == 1
    bench.tell(flow.Answered(len(bench.sent), reached=True))
    assert bench.ranges()[-3:] == [(11, 20), (21, 30), (31, 40)]
