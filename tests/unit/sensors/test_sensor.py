"""Every live sensor meets trouble in the same way: again, more slowly, and then an error."""

import errno
import itertools
import logging
import math

import numpy as np
import pytest

from edgeml.clock import ManualClock
from edgeml.errors import ConfigError, MissingDependencyError, SensorError
from edgeml.sensors import Batch, Patience, Sample, Sensor, SourceState
from edgeml.sensors.fakes import FakeDriver

UNPLUGGED = OSError(errno.ENODEV, "No such device")


def sample(i: int = 0) -> Sample:
    return Sample(float(i), np.array([i], np.float32))


def values(samples: list[Sample]) -> list[int]:
    return [int(s.values[0]) for s in samples]


def test_a_sensor_that_comes_back_goes_on_and_the_fault_is_counted() -> None:
    clock = ManualClock()
    driver = FakeDriver([sample(1), UNPLUGGED, sample(2)], clock)
    sensor = Sensor(driver, clock=clock)
    assert values(list(itertools.islice(sensor, 2))) == [1, 2]
    assert (driver.opened, driver.closed) == (2, 2)
    health = sensor.health()
    assert (health.samples, health.faults, health.state) == (2, 1, SourceState.CLOSED)
    assert "No such device" in health.last_fault


def test_channels_that_the_kernel_names_otherwise_get_the_models_names() -> None:
    driver = FakeDriver([], ManualClock())
    assert Sensor(driver).channel_names == ("value",)
    assert Sensor(driver, names=["acceleration"]).channel_names == ("acceleration",)
    with pytest.raises(ConfigError, match="names has 2 names; a fake sensor has 1 channels: value"):
        Sensor(driver, names=["x", "y"])


def test_pauses_double_up_to_the_longest() -> None:
    clock = ManualClock()
    attempts: list[float] = []

    class Absent(FakeDriver):
        def open(self) -> None:
            attempts.append(clock.monotonic_s())
            raise UNPLUGGED

    patience = Patience(first_pause_s=1, longest_pause_s=8, give_up_s=30)
    with pytest.raises(SensorError):
        list(Sensor(Absent([], clock), patience=patience, clock=clock))
    np.testing.assert_allclose(attempts, [0, 1, 3, 7, 15, 23, 30], atol=1e-6)


def test_a_sensor_that_stays_away_is_an_error_after_the_stated_time() -> None:
    clock = ManualClock()
    driver = FakeDriver([UNPLUGGED], clock, openings=[None, *[UNPLUGGED] * 99])
    sensor = Sensor(driver, patience=Patience(give_up_s=20), clock=clock)
    with pytest.raises(SensorError, match=r"a fake sensor: .*No such device.* 20 s is the limit"):
        list(sensor)
    assert clock.monotonic_s() == pytest.approx(20)
    assert sensor.health().state is SourceState.FAILED
    assert driver.closed == driver.opened


def test_silence_is_a_fault_too_and_opening_again_may_cure_it() -> None:
    clock = ManualClock()
    driver = FakeDriver([sample(1), *[None] * 30, sample(2)], clock)
    sensor = Sensor(driver, patience=Patience(silent_after_s=2), clock=clock)
    assert values(list(itertools.islice(sensor, 2))) == [1, 2]
    assert driver.opened == 2
    assert sensor.health().last_fault == "a fake sensor: open, but silent for 2.0 s"


def test_a_sensor_that_opens_and_never_speaks_is_an_error() -> None:
    clock = ManualClock()
    patience = Patience(silent_after_s=2, give_up_s=10)
    with pytest.raises(SensorError, match="silent"):
        list(Sensor(FakeDriver([], clock), patience=patience, clock=clock))
    assert 10 <= clock.monotonic_s() < 13


def test_a_slow_sensor_may_be_silent_for_three_of_its_periods() -> None:
    clock = ManualClock()
    script = [None if i % 600 else sample(i) for i in range(1801)]
    driver = FakeDriver(script, clock, period_s=60.0)
    sensor = Sensor(driver, patience=Patience(silent_after_s=5, give_up_s=10), clock=clock)
    assert len(list(itertools.islice(sensor, 4))) == 4
    assert sensor.health().faults == 0


def test_a_reader_that_takes_its_time_does_not_make_the_sensor_silent() -> None:
    clock = ManualClock()
    overflow = Batch((), lost=1, complaint="its FIFO overflowed")
    driver = FakeDriver([sample(1), overflow, sample(2), UNPLUGGED, sample(3)], clock)
    sensor = Sensor(driver, clock=clock)
    got = []
    for item in sensor:
        got.append(item)
        clock.advance(1000)
        if len(got) == 3:
            break
    assert values(got) == [1, 2, 3]
    assert (sensor.health().faults, sensor.health().lost) == (1, 1)


def test_silence_means_nothing_where_a_sensor_speaks_only_when_it_likes() -> None:
    clock = ManualClock()
    driver = FakeDriver([*[None] * 5000, sample(7)], clock, period_s=None)
    sensor = Sensor(driver, clock=clock)
    assert values(list(itertools.islice(sensor, 1))) == [7]
    assert sensor.health().faults == 0
    assert clock.monotonic_s() > 400


def test_only_garbage_is_silence_and_the_error_shows_the_garbage() -> None:
    clock = ManualClock()

    class Garbled(FakeDriver):
        def read(self, timeout_s: float) -> Batch:
            clock.sleep(timeout_s)
            return Batch((), malformed=1, complaint="2 values, not 3: b'1,2'")

    sensor = Sensor(
        Garbled([], clock), patience=Patience(silent_after_s=1, give_up_s=3), clock=clock
    )
    with pytest.raises(SensorError, match=r"2 values, not 3"):
        list(sensor)
    assert sensor.health().malformed > 20


@pytest.mark.parametrize(
    "error", [ConfigError("no rate"), MissingDependencyError("pip install")], ids=repr
)
def test_what_no_retry_would_help_is_raised_at_once(error: Exception) -> None:
    clock = ManualClock()

    class Wrong(FakeDriver):
        def open(self) -> None:
            raise error

    driver = Wrong([], clock)
    with pytest.raises(type(error)):
        list(Sensor(driver, clock=clock))
    assert clock.monotonic_s() == 0
    assert driver.closed == 1


def test_stop_ends_the_iteration_and_closes_the_driver() -> None:
    clock = ManualClock()
    driver = FakeDriver((sample(i) for i in itertools.count()), clock)
    sensor = Sensor(driver, clock=clock)
    got = []
    for item in sensor:
        got.append(item)
        if len(got) == 3:
            sensor.stop()
    assert len(got) == 3
    assert driver.closed == 1
    assert list(sensor) == []


def test_leaving_the_loop_closes_the_driver_and_it_can_be_iterated_again() -> None:
    clock = ManualClock()
    driver = FakeDriver((sample(i) for i in itertools.count()), clock)
    sensor = Sensor(driver, clock=clock)
    assert values(list(itertools.islice(sensor, 2))) == [0, 1]
    assert values(list(itertools.islice(sensor, 2))) == [2, 3]
    assert driver.closed == 2


def test_health_tells_what_is_going_on_while_it_is() -> None:
    clock = ManualClock()
    driver = FakeDriver([sample(), UNPLUGGED, None, sample(), sample()], clock)
    sensor = Sensor(driver, clock=clock)
    states = [sensor.health().state]
    items = iter(sensor)
    next(items)
    states.append(sensor.health().state)
    driver.on_open = lambda: states.append(sensor.health().state)
    next(items)
    assert states == [SourceState.IDLE, SourceState.RUNNING, SourceState.RETRYING]
    clock.advance(2)
    assert sensor.health().quiet_s == pytest.approx(2)


def test_a_row_of_faults_is_logged_once(caplog: pytest.LogCaptureFixture) -> None:
    clock = ManualClock()
    openings = [UNPLUGGED] * 5
    driver = FakeDriver([sample()], clock, openings=openings)
    with caplog.at_level(logging.WARNING, "edgeml.sensors"):
        list(itertools.islice(Sensor(driver, clock=clock), 1))
    assert len(caplog.records) == 1


@pytest.mark.parametrize(
    "wrong",
    [
        {"first_pause_s": 0.0},
        {"give_up_s": -1.0},
        {"silent_after_s": math.nan},
        {"first_pause_s": 5.0, "longest_pause_s": 1.0},
    ],
)
def test_patience_that_cannot_be_is_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(ConfigError):
        Patience(**wrong)
