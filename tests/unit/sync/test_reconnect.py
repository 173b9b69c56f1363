"""The line's table: it always comes back, out of step with its neighbours, until it is closed."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgeml.sync.reconnect import TRANSITIONS, Line, Phase, Policy, Signal, backoff_s, due, step

POLICY = Policy(pause_min_s=1.0, pause_max_s=60.0, answer_timeout_s=10.0)


def after(*signals: Signal) -> Line:
    line = Line()
    for signal in signals:
        line = step(line, signal, POLICY, 100.0, 1.0)
    return line


def test_a_good_connection_goes_straight_to_online() -> None:
    line = after(Signal.START, Signal.ACCEPTED, Signal.SUBSCRIBED)
    assert line == Line(Phase.ONLINE, since_s=100.0)


def test_a_broker_that_stays_silent_is_given_up() -> None:
    line = after(Signal.START)
    assert not due(line, 109.9)
    assert due(line, 110.0)
    assert step(line, Signal.DUE, POLICY, 110.0, 0.0).phase is Phase.WAITING


def test_pauses_double_up_to_the_longest_and_begin_anew_after_a_line_that_lasted() -> None:
    line = Line()
    pauses = []
    for _ in range(9):
        line = step(
            line, Signal.START if line.phase is Phase.IDLE else Signal.DUE, POLICY, 0.0, 1.0
        )
        line = step(line, Signal.LOST, POLICY, 0.0, 1.0)
        pauses.append(line.deadline_s)
    assert pauses == [1, 2, 4, 8, 16, 32, 60, 60, 60]
    for signal in (Signal.DUE, Signal.ACCEPTED, Signal.SUBSCRIBED):
        line = step(line, signal, POLICY, 0.0, 1.0)
    assert step(line, Signal.LOST, POLICY, 60.0, 1.0).deadline_s == 61


def test_a_line_that_is_lost_as_soon_as_it_is_there_comes_back_later_and_later() -> None:
    # Another client of the same id, a quota, a message that the broker cannot bear.
    line = after(Signal.START, Signal.ACCEPTED, Signal.SUBSCRIBED)
    pauses = []
    for _ in range(8):
        line = step(line, Signal.LOST, POLICY, 100.0, 1.0)
        pauses.append((line.deadline_s or 0.0) - 100.0)
        for signal in (Signal.DUE, Signal.ACCEPTED, Signal.SUBSCRIBED):
            line = step(line, signal, POLICY, 100.0, 1.0)
    assert pauses == [1, 2, 4, 8, 16, 32, 60, 60]


@given(st.integers(0, 10_000), st.floats(0, 1))
def test_a_pause_is_at_least_half_and_never_more_than_the_longest(
    failures: int, chance: float
) -> None:
    pause_s = backoff_s(failures, POLICY, chance)
    assert 0.5 <= pause_s <= 60.0


@pytest.mark.parametrize("signal", Signal)
def test_a_closed_line_stays_closed(signal: Signal) -> None:
    closed = after(Signal.START, Signal.CLOSE)
    assert step(closed, signal, POLICY, 0.0, 0.0) is closed


@given(st.lists(st.sampled_from(list(Signal))))
def test_from_anywhere_it_can_be_closed_and_until_then_it_comes_back(signals: list[Signal]) -> None:
    line = after(Signal.START, *signals)
    if line.phase is not Phase.CLOSED:
        if line.phase is not Phase.ONLINE:
            assert line.deadline_s is not None
        assert (line.phase, Signal.CLOSE) in TRANSITIONS
