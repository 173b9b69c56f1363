"""What is sent when, and when again, step by step on a clock that the test holds."""

import pytest

from edgeml.sync import flow
from edgeml.sync.flow import Lane
from edgeml.sync.marks import AUDIT_DELAY_S
from edgeml.sync.messages import Ack
from edgeml.sync.session import GAP_PAUSE_S, PROBE_PAUSE_MAX_S
from edgeml.sync.spans import Spans

from .bench import Bench


def test_nothing_is_sent_while_the_line_is_down() -> None:
    bench = Bench(rows=30)
    bench.commit(41)
    assert bench.sent == []


def test_a_window_is_filled_and_moves_on_with_the_mark() -> None:
    bench = Bench(rows=100, window=3)
    bench.tell(flow.Up(100))
    assert bench.ranges() == [(1, 10), (11, 20), (21, 30)]
    bench.ack(10)
    assert bench.ranges()[3:] == [(31, 40)]
    bench.ack(40)
    assert bench.ranges()[4:] == [(41, 50), (51, 60), (61, 70)]


def test_the_broker_may_narrow_the_window() -> None:
    bench = Bench(rows=100, window=8)
    bench.tell(flow.Up(2))
    assert bench.session.in_flight == 2


def test_what_is_acknowledged_is_let_go_even_beyond_a_hole() -> None:
    bench = Bench(rows=30)
    bench.tell(flow.Up(100))
    assert bench.ack(10, (21, 30)) == [flow.LetGo(Spans(((1, 10), (21, 30))), 10)]
    assert bench.session.in_flight == 1


def test_a_word_that_says_nothing_new_costs_no_write() -> None:
    bench = Bench(rows=30)
    bench.tell(flow.Up(100))
    assert len(bench.ack(10)) == 1
    assert bench.ack(10) == []


def test_an_acknowledgement_of_another_outbox_means_nothing() -> None:
    bench = Bench(rows=30)
    bench.tell(flow.Up(100))
    assert bench.tell(flow.Acked(Ack("other", 30, Spans(), "a.1"), False)) == []
    assert bench.session.in_flight == 3


def test_a_lost_line_sends_everything_unconfirmed_again() -> None:
    bench = Bench(rows=30)
    bench.tell(flow.Up(100))
    bench.ack(10)
    bench.tell(flow.Down())
    bench.sent.clear()
    bench.tell(flow.Up(100))
    # The confirmed rows are still named: in the real outbox they are gone by then.
    assert (11, 20) in bench.ranges()
    assert (21, 30) in bench.ranges()


def test_without_an_answer_one_message_after_the_other_probes_with_growing_pauses() -> None:
    bench = Bench(rows=30)
    bench.tell(flow.Up(100))
    pauses = []
    for _ in range(8):
        due_s = bench.session.next_deadline_s()
        assert due_s is not None
        pauses.append(due_s - bench.now_s)
        bench.now_s, before = due_s, len(bench.sent)
        bench.tell(flow.Tick())
        assert len(bench.sent) == before + 1
        assert bench.sent[-1][0] is Lane.RESULTS_AGAIN
    # It may be the message that is wrong, and not the line: the next one gets its chance.
    assert bench.ranges()[-8:] == [(1, 10), (11, 20), (21, 30)] * 2 + [(1, 10), (11, 20)]
    assert pauses == [10, 10, 20, 40, 80, 160, 300, 300]
    assert max(pauses) == PROBE_PAUSE_MAX_S


def test_the_first_sign_of_life_opens_the_window_again() -> None:
    bench = Bench(rows=40)
    bench.tell(flow.Up(100))
    bench.now_s = 10.0
    bench.tell(flow.Tick())
    bench.sent.clear()
    bench.ack(10)
    assert bench.ranges() == [(11, 20), (21, 30), (31, 40)]


def test_a_new_ingest_gets_at_once_what_the_old_one_may_have_swallowed() -> None:
    bench = Bench(rows=20)
    bench.tell(flow.Up(100))
    bench.ack(0, ingest="old.1", greeting=True, retained=True)
    bench.sent.clear()
    bench.ack(0, ingest="new.1", greeting=True)
    assert bench.ranges() == [(1, 10), (11, 20)]
    bench.ack(0, ingest="old.1", greeting=True)
    assert len(bench.sent) == 2


def test_a_new_ingest_that_says_what_it_got_before_it_greets_gets_the_rest_at_once() -> None:
    """What was sent before it listened is lost, whatever of the window arrived after that."""
    bench = Bench(rows=20)
    bench.tell(flow.Up(100))
    bench.sent.clear()
    bench.ack(0, (11, 20), ingest="new.1")
    assert bench.ranges() == []
    bench.ack(0, (11, 20), ingest="new.1", greeting=True)
    assert bench.ranges() == [(1, 10)]
    bench.ack(0, (11, 20), ingest="new.1", greeting=True)
    assert bench.ranges() == [(1, 10)]


def test_when_nobody_listens_one_message_at_a_time_probes() -> None:
    bench = Bench(rows=100, window=3)
    bench.tell(flow.Up(100))
    for token in (1, 2, 3):
        bench.tell(flow.Answered(token, reached=False))
    bench.now_s = 10.0
    bench.tell(flow.Tick())
    assert bench.session.in_flight == 1
    assert len(bench.sent) == 4


def test_events_go_first_and_the_newest_of_them_first() -> None:
    bench = Bench(rows=60, window=100, per_batch=2)
    bench.events = {5, 20, 40, 50}
    bench.tell(flow.Up(100))
    lanes = [lane for lane, _ in bench.sent[:2]]
    assert lanes == [Lane.OLD_EVENTS, Lane.OLD_EVENTS]
    assert bench.ranges()[:4] == [(40, 40), (50, 50), (5, 5), (20, 20)]


def test_a_long_backlog_does_not_hold_up_live_results() -> None:
    bench = Bench(rows=1000, window=2)
    bench.tell(flow.Up(100))
    bench.commit(1021)
    bench.sent.clear()
    bench.ack(20)
    assert [lane for lane, _ in bench.sent] in (
        [Lane.NEW_RESULTS, Lane.OLD_RESULTS],
        [Lane.OLD_RESULTS, Lane.NEW_RESULTS],
    )


def test_with_ack_broker_the_brokers_answer_is_enough() -> None:
    bench = Bench(rows=20, by_fleet=False)
    bench.tell(flow.Up(100))
    assert bench.tell(flow.Answered(1, reached=False)) == [flow.LetGo(Spans(((1, 10),)), None)]
    assert bench.ack(20) == []


def test_a_store_that_went_back_in_time_is_audited_after_a_while() -> None:
    bench = Bench(rows=20)
    bench.tell(flow.Up(100))
    bench.ack(20)
    bench.ack(5, ingest="restored.1")
    bench.now_s = AUDIT_DELAY_S
    audits = [effect for effect in bench.tell(flow.Tick()) if isinstance(effect, flow.Audit)]
    assert audits == [flow.Audit(Ack("box", 5, Spans(), "restored.1"))]
    assert bench.session.mark == 5


def test_a_store_that_loses_what_it_confirmed_under_its_ingest_is_asked_once_and_audited() -> None:
    bench = Bench(rows=20)
    bench.tell(flow.Up(100))
    bench.ack(20)
    bench.now_s = AUDIT_DELAY_S
    bench.tell(flow.Tick())
    bench.commit(31)
    assert bench.ack(12, (21, 30)).count(flow.Ask()) == 1
    assert bench.ack(12, (21, 30)) == []
    bench.now_s = 2 * AUDIT_DELAY_S
    audits = [effect for effect in bench.tell(flow.Tick()) if isinstance(effect, flow.Audit)]
    assert audits == [flow.Audit(Ack("box", 12, Spans(((21, 30),)), "a.1"))]
    assert bench.ack(12, (21, 30)) == []


def test_an_audit_does_not_believe_what_one_of_two_ingests_says_late() -> None:
    bench = Bench(rows=20)
    bench.tell(flow.Up(100))
    bench.ack(5, ingest="a.1")
    bench.ack(10, (15, 20), ingest="b.1")
    bench.ack(8, (9, 12), ingest="a.1")
    bench.now_s = AUDIT_DELAY_S
    audits = [effect for effect in bench.tell(flow.Tick()) if isinstance(effect, flow.Audit)]
    assert [(audit.ack.mark, audit.ack.above) for audit in audits] == [
        (10, Spans(((11, 12), (15, 20)))),
    ]  # fmt: skip


@pytest.mark.parametrize(("mark", "above"), [(21, []), (3, [(20, 21)])])
def test_a_store_that_knows_unborn_numbers_makes_the_outbox_another_one(
    mark: int, above: list[tuple[int, int]]
) -> None:
    bench = Bench(rows=20)
    bench.tell(flow.Up(100))
    stored = Spans.of(above).plus(1, mark).minus(Spans(((21, 21),)))
    # What both copies hold leaves first; then nothing is said under the old name any more.
    assert bench.ack(mark, *above) == [flow.LetGo(stored, None), flow.Rotate()]
    bench.sent.clear()
    assert bench.ack(mark, *above) == []
    bench.commit(25)
    assert bench.sent == []


def test_numbers_that_nobody_vouched_for_wait_until_the_store_was_heard() -> None:
    bench = Bench(rows=30, vouched=10)
    bench.tell(flow.Up(100))
    assert bench.ranges() == [(1, 10)]
    assert bench.ack(10, retained=True) == [flow.LetGo(Spans(((1, 10),)), 10)]
    assert flow.Trust() in bench.ack(10, ingest="b.1")
    bench.commit(31)
    assert bench.ranges()[1:] == [(11, 20), (21, 30)]


def test_a_store_that_knows_what_an_old_copy_never_gave_is_noticed_whatever_came_since() -> None:
    bench = Bench(rows=250, vouched=100)
    bench.tell(flow.Up(100))
    assert bench.ack(200, retained=True) == [flow.LetGo(Spans(((1, 100),)), None), flow.Rotate()]


def test_a_device_that_hears_nothing_of_the_store_announces_itself_again() -> None:
    bench = Bench(rows=30, vouched=0)
    bench.tell(flow.Up(100))
    pauses = []
    for _ in range(3):
        due_s = bench.session.next_deadline_s()
        assert due_s is not None
        pauses.append(due_s - bench.now_s)
        bench.now_s = due_s
        assert bench.tell(flow.Tick()) == [flow.Ask()]
    assert pauses == [10, 20, 40]
    assert bench.sent == []


def test_gaps_that_appear_behind_the_reading_are_sent_soon() -> None:
    bench = Bench(rows=20)
    bench.tell(flow.Up(100))
    bench.ack(20)
    bench.events = {3}
    bench.commit(21, gaps=Spans(((3, 3),)))
    assert (3, 3) not in bench.ranges()[2:]
    bench.now_s = GAP_PAUSE_S
    bench.tell(flow.Tick())
    assert bench.sent[-1] == (Lane.OLD_EVENTS, Spans(((3, 3),)))


def test_an_unknown_answer_means_nothing() -> None:
    bench = Bench(rows=10)
    assert bench.tell(flow.Answered(1, reached=True)) == []
    bench.tell(flow.Up(100))
    assert bench.tell(flow.Answered(99, reached=True)) == []
    assert bench.session.in_flight == 1


def test_while_results_are_held_events_still_go() -> None:
    bench = Bench(rows=10, window=100)
    bench.hold_results = True
    bench.tell(flow.Up(100))
    assert bench.sent == []
    bench.events = {11}
    bench.commit(12)
    assert bench.ranges() == [(11, 11)]
    bench.hold_results = False
    bench.tell(flow.Allowed())
    assert bench.ranges() == [(11, 11), (1, 10)]


def test_samples_go_when_no_event_and_no_result_waits() -> None:
    bench = Bench(rows=0, window=1)
    bench.samples = {3, 4, 21}
    bench.events = {5}
    bench.tell(flow.Up(100))
    bench.commit(31)
    for _ in range(6):
        bench.ack(0, *bench.ranges())
    lanes = [lane for lane, _ in bench.sent]
    assert lanes[0] is Lane.NEW_EVENTS
    assert lanes[-1] is Lane.SAMPLES
    assert bench.sent[-1][1] == Spans.of([(3, 4), (21, 21)])
    assert Lane.SAMPLES not in lanes[:-1]


def test_samples_that_come_later_are_found_and_late_ones_are_sent_again() -> None:
    bench = Bench(rows=0)
    bench.tell(flow.Up(100))
    bench.samples = {1}
    bench.commit(2)
    bench.ack(1)
    bench.samples = {1, 2}
    bench.commit(3)
    assert bench.sent == [(Lane.SAMPLES, Spans(((1, 1),))), (Lane.SAMPLES, Spans(((2, 2),)))]
    bench.now_s = 11.0
    bench.tell(flow.Tick())
    assert bench.sent[2:] == [(Lane.SAMPLES_AGAIN, Spans(((2, 2),)))]
