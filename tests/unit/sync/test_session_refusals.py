"""What the other side refuses, or names by its digest: found, given up, and never in the way."""

from edgeml.sync import flow
from edgeml.sync.session import GAP_PAUSE_S
from edgeml.sync.spans import Spans

from .bench import Bench


def test_a_message_that_is_named_as_stored_makes_room_and_leaves_the_disk() -> None:
    bench = Bench(rows=100, window=3)
    bench.tell(flow.Up(100))
    bench.now_s = 10.0
    bench.tell(flow.Tick())
    bench.sent.clear()
    named = flow.Stored(("message 4", "another message"))
    assert bench.tell(named) == [flow.LetGo(Spans(((1, 10),)), None)]
    # It is a sign of life: the probing is over.
    assert len(bench.sent) == 3
    assert bench.tell(named) == []


def test_with_ack_broker_no_ingest_names_messages() -> None:
    bench = Bench(rows=10, by_fleet=False)
    bench.tell(flow.Up(100))
    assert bench.tell(flow.Stored(("message 1",))) == []
    assert bench.session.in_flight == 1


def test_a_refused_message_is_sent_row_by_row_and_the_refused_row_is_given_up() -> None:
    bench = Bench(rows=13, window=16)
    bench.tell(flow.Up(100))
    assert bench.tell(flow.Refused("message 1")) == [flow.Isolate(Spans(((1, 10),)))]
    bench.sent.clear()
    bench.commit(14)
    assert bench.sent == []
    bench.commit(14, isolated=Spans(((1, 10),)))
    assert bench.ranges() == [(n, n) for n in range(1, 11)]
    bench.ack(6, (8, 13))
    assert bench.tell(flow.Refused("message 7")) == [flow.GiveUp(Spans(((7, 7),)))]
    assert bench.session.in_flight == 0


def test_a_refusal_of_what_was_never_sent_means_nothing() -> None:
    bench = Bench(rows=10)
    bench.tell(flow.Up(100))
    assert bench.tell(flow.Refused("another message")) == []
    assert bench.session.in_flight == 1


def test_a_gap_that_is_refused_as_well_is_not_rewritten_for_ever() -> None:
    bench = Bench(rows=1)
    bench.events = {1}
    bench.tell(flow.Up(100))
    assert bench.tell(flow.Refused("message 1")) == [flow.GiveUp(Spans(((1, 1),)))]
    bench.commit(2, gaps=Spans(((1, 1),)))
    bench.now_s = GAP_PAUSE_S
    bench.tell(flow.Tick())
    assert bench.tell(flow.Refused("message 2")) == []
    assert bench.session.in_flight == 1


def test_a_message_that_alone_is_never_confirmed_does_not_narrow_the_window() -> None:
    bench = Bench(rows=20, window=4)
    bench.tell(flow.Up(100))
    isolated: list[flow.Effect] = []
    for n in range(2, 5):
        bench.commit(10 * n + 1)
        bench.now_s += 0.5
        bench.ack(0, (11, 10 * n))
        bench.now_s = 10.0 * n - 10.0
        isolated += [e for e in bench.tell(flow.Tick()) if isinstance(e, flow.Isolate)]
        assert not bench.session._probing
    assert isolated == [flow.Isolate(Spans(((1, 10),)))]


def test_what_was_late_and_came_all_the_same_is_not_remembered() -> None:
    """A line may live for months."""
    bench = Bench(rows=20)
    bench.tell(flow.Up(100))
    bench.now_s = 1.0
    bench.ack(0, (11, 20))
    bench.now_s = 30.0
    bench.tell(flow.Tick())
    assert bench.session._late == {1: 1}
    bench.ack(20)
    assert bench.session._late == {}
