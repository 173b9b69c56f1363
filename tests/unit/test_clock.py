"""Time in tests moves only when told."""

import pytest

from edgeml.clock import ManualClock, SystemClock


def test_a_manual_clock_moves_both_readings_and_steps_only_the_wall() -> None:
    clock = ManualClock(now_s=10.0, monotonic_s=1.0)
    clock.advance(2.5)
    clock.step_wall(-86400)
    clock.sleep(1.0)
    assert clock.now_s() == 13.5 - 86400
    assert clock.monotonic_s() == 4.5


def test_time_does_not_pass_backwards() -> None:
    with pytest.raises(ValueError, match="step_wall"):
        ManualClock().advance(-1)


def test_the_system_clock_goes_forward() -> None:
    clock = SystemClock()
    before = clock.monotonic_s()
    clock.sleep(0.001)
    assert clock.monotonic_s() > before
    assert clock.now_s() > 1.6e9
