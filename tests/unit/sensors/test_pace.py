"""Times are where the samples were, whatever the clock and the arrival do."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgeml.clock import ManualClock
from edgeml.sensors.pace import BlockStamp, Stamp, Ticker


def test_a_stamp_follows_the_wall_clock_when_it_is_set_and_not_when_it_jitters() -> None:
    clock = ManualClock(now_s=1000.0)
    stamp = Stamp(clock)
    clock.advance(5)
    clock.step_wall(0.1)
    assert stamp.now_s() == pytest.approx(1005.0)
    clock.step_wall(3600)
    assert stamp.now_s() == pytest.approx(4605.1)


def test_ticks_keep_their_phase_and_leave_out_what_was_missed() -> None:
    clock = ManualClock()
    ticker = Ticker(0.1, clock)
    ticks = []
    for spent_s in (0.0, 0.03, 0.25, 0.0, 0.0):
        assert ticker.wait(1.0)
        ticks.append(round(clock.monotonic_s(), 3))
        clock.advance(spent_s)
    assert ticks == [0.0, 0.1, 0.2, 0.45, 0.5]


def test_a_tick_that_is_not_due_in_time_is_waited_for_no_longer() -> None:
    clock = ManualClock()
    ticker = Ticker(10.0, clock)
    assert ticker.wait(0.1)
    assert not ticker.wait(0.1)
    assert clock.monotonic_s() == pytest.approx(0.1)


def test_the_block_loop_learns_the_sensors_own_rate() -> None:
    clock = ManualClock(now_s=0.0)
    stamp = BlockStamp(100.0, Stamp(clock))
    true_hz = 98.7
    last: list[float] = []
    for _ in range(400):
        clock.advance(10 / true_hz)
        last = list(stamp.times_s(10))
    assert stamp.rate_hz == pytest.approx(true_hz, rel=1e-3)
    assert last[-1] == pytest.approx(clock.now_s(), abs=1e-3)


def test_the_jitter_of_arrival_is_smoothed_away() -> None:
    clock = ManualClock(now_s=0.0)
    stamp = BlockStamp(100.0, Stamp(clock))
    rng = np.random.default_rng(0)
    arrivals = (np.arange(1, 501) * 0.1) + rng.uniform(0, 0.02, 500)
    ends = []
    for arrival_s in arrivals:
        clock.advance(arrival_s - clock.monotonic_s())
        ends.append(stamp.times_s(10)[-1])
    steps = np.diff(ends[100:])
    assert np.abs(steps - 0.1).max() < 0.006
    assert np.abs(np.diff(arrivals[100:]) - 0.1).max() > 0.015


@given(st.lists(st.floats(0.0, 0.2, allow_subnormal=False), min_size=1, max_size=100))
def test_a_block_that_is_late_is_no_gap(late_s: list[float]) -> None:
    clock = ManualClock()
    stamp = BlockStamp(1000.0, Stamp(clock))
    times = []
    for i, late in enumerate(late_s):
        clock.advance(max(0.02 * (i + 1) + late - clock.monotonic_s(), 0.0))
        times += list(stamp.times_s(20))
    assert (np.diff(times) < 0.0015).all()


def test_what_is_known_to_be_missing_is_a_gap_however_short() -> None:
    clock = ManualClock(now_s=0.0)
    stamp = BlockStamp(1000.0, Stamp(clock))
    clock.advance(0.02)
    before = stamp.times_s(20)
    clock.advance(0.12)
    stamp.restart()
    after = stamp.times_s(20)
    assert after[0] - before[-1] == pytest.approx(0.101)
    assert after[-1] == pytest.approx(0.14)


def test_a_stretch_that_is_missing_shows_as_a_gap() -> None:
    clock = ManualClock(now_s=0.0)
    stamp = BlockStamp(100.0, Stamp(clock))
    clock.advance(0.1)
    before = stamp.times_s(10)
    clock.advance(2.1)
    after = stamp.times_s(10)
    assert after[0] - before[-1] == pytest.approx(2.01, abs=1e-6)
    assert after[-1] == pytest.approx(2.2)


@given(
    st.lists(
        st.tuples(st.integers(1, 50), st.floats(0.0, 0.5, allow_subnormal=False)),
        min_size=1,
        max_size=60,
    )
)
def test_times_always_rise(blocks: list[tuple[int, float]]) -> None:
    clock = ManualClock()
    stamp = BlockStamp(100.0, Stamp(clock))
    times: list[float] = []
    for count, wait_s in blocks:
        clock.advance(wait_s)
        times += list(stamp.times_s(count))
    assert (np.diff(times) > 0).all()


def test_a_wall_clock_that_is_set_back_takes_the_times_with_it() -> None:
    clock = ManualClock(now_s=5000.0)
    stamp = BlockStamp(100.0, Stamp(clock))
    stamp.times_s(10)
    clock.step_wall(-3600)
    clock.advance(0.1)
    assert stamp.times_s(10)[-1] == pytest.approx(1400.1)
