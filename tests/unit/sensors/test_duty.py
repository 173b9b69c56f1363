"""The stride widens at once, comes back slowly, and never swings."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgeml.clock import ManualClock
from edgeml.errors import ConfigError
from edgeml.sensors import Duty, DutyLimits, DutyReading, next_duty
from edgeml.sensors.dutycontrol import Counts, DutyControl

LIMITS = DutyLimits(hot_c=80, cool_c=70, settle_s=10, calm_s=60, widest=8)


def after(duty: Duty, *readings: tuple[float, float | None, int]) -> Duty:
    """The duty after (now, temperature, late of 100 windows)."""
    for now_s, temperature_c, late in readings:
        duty = next_duty(duty, DutyReading(now_s, 100, late, temperature_c), LIMITS)
    return duty


def test_a_hot_cpu_widens_the_stride_at_once() -> None:
    duty = after(Duty(), (0.0, 81.0, 0))
    assert (duty.factor, duty.reason) == (2, "hot")


def test_missed_deadlines_widen_it_even_where_nobody_tells_a_temperature() -> None:
    duty = after(Duty(), (0.0, None, 10))
    assert (duty.factor, duty.reason) == (2, "late")


def test_it_widens_again_only_when_the_last_step_has_had_its_time() -> None:
    assert after(Duty(), (0.0, 90.0, 50), (5.0, 90.0, 50)).factor == 2
    assert after(Duty(), (0.0, 90.0, 50), (10.0, 90.0, 50)).factor == 4


def test_it_is_never_wider_than_the_widest() -> None:
    assert after(Duty(), *((t * 10.0, 90.0, 0) for t in range(20))).factor == 8


def test_it_comes_back_one_step_after_all_was_well_for_long_enough() -> None:
    wide = Duty(4, "hot", 0.0)
    almost = after(wide, (100.0, 60.0, 0), (159.0, 60.0, 0))
    assert almost.factor == 4
    back = after(almost, (160.0, 60.0, 0))
    assert back.factor == 2
    assert after(back, (219.0, 60.0, 0)).factor == 2
    normal = after(back, (220.0, 60.0, 0))
    assert (normal.factor, normal.reason) == (1, "")


@pytest.mark.parametrize("reading", [(150.0, 75.0, 0), (150.0, 60.0, 5)])
def test_between_the_two_thresholds_nothing_changes_and_calm_begins_anew(
    reading: tuple[float, float, int],
) -> None:
    duty = after(Duty(4, "hot", 0.0), (100.0, 60.0, 0), reading, (165.0, 60.0, 0))
    assert duty.factor == 4
    assert duty.calm_since_s == 165.0


def test_no_window_due_is_no_window_late() -> None:
    assert next_duty(Duty(), DutyReading(0.0, 0, 0), LIMITS) == Duty(calm_since_s=0.0)


@given(
    st.lists(
        st.tuples(st.floats(0, 5, allow_subnormal=False), st.floats(40, 100), st.integers(0, 100)),
        max_size=300,
    )
)
def test_it_never_changes_twice_within_the_settling_time(
    steps: list[tuple[float, float, int]],
) -> None:
    now_s, duty = 0.0, Duty()
    changes: list[float] = []
    for wait_s, temperature_c, late in steps:
        now_s += wait_s
        new = next_duty(duty, DutyReading(now_s, 100, late, temperature_c), LIMITS)
        assert new.factor in (1, 2, 4, 8)
        assert (new.reason == "") == (new.factor == 1)
        if new.factor > duty.factor:
            assert all(now_s - t >= LIMITS.settle_s for t in changes[-1:])
        if new.factor != duty.factor:
            changes.append(now_s)
        duty = new


@pytest.mark.parametrize(
    "wrong",
    [{"cool_c": 90.0}, {"calm_ratio": 0.5}, {"late_ratio": 2.0}, {"settle_s": 0.0}, {"widest": 0}],
)
def test_limits_that_would_swing_are_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ConfigError):
        DutyLimits(**wrong)


def test_a_new_stream_whose_counts_begin_at_zero_has_no_windows_that_came_too_late() -> None:
    clock = ManualClock()
    control = DutyControl(DutyLimits(), clock, lambda: 40.0)
    control.decide(Counts(1000, 20, 0))
    clock.advance(20)
    control.restart()
    assert not control.decide(Counts(30, 0, 0))
    assert control.factor == 1
