"""A device that is too hot or too late thinks less often, says so, and comes back slowly."""

import threading
from collections.abc import Iterator
from importlib import resources
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

from edgeml import Device, Result
from edgeml.clock import ManualClock
from edgeml.errors import ConfigError, SensorError
from edgeml.sensors import DutyLimits, Sample

BUNDLE = Path(str(resources.files("edgeml.demo") / "data" / "activity.tflite"))
STRIDE_S = 5.0
"""Of the model: 50 samples at 10 Hz."""

LIMITS = DutyLimits(hot_c=80, cool_c=70, settle_s=10, calm_s=60, widest=4)


class Room:
    """Samples that take as long as they do, by a clock of their own, and how hot it is."""

    def __init__(self) -> None:
        self.clock = ManualClock()
        self.celsius = 50.0
        self.number = 0

    def samples(self, seconds: float) -> Iterator[Sample]:
        for _ in range(round(seconds * 10)):
            self.clock.advance(0.1)
            self.number += 1
            yield Sample(self.number / 10, np.full(6, 0.1, np.float32))

    def temperature_c(self) -> float:
        return self.celsius


def strides(results: list[Result]) -> set[float]:
    return {round(after.start_s - before.start_s, 3) for before, after in pairwise(results)}


def test_heat_widens_the_stride_health_says_so_and_calm_brings_it_back() -> None:
    room = Room()

    def weather() -> Iterator[Sample]:
        yield from room.samples(60)
        room.celsius = 85.0
        yield from room.samples(120)
        room.celsius = 60.0
        yield from room.samples(400)

    seen: list[tuple[int, str]] = []
    results = []
    with Device(
        "d", model=BUNDLE, duty=LIMITS, clock=room.clock, thermometer=room.temperature_c
    ) as device:
        for result in device.run(weather()):
            results.append(result)
            duty = device.health().duty
            assert duty is not None
            if not seen or seen[-1] != (duty.factor, duty.reason):
                seen.append((duty.factor, duty.reason))
    assert seen == [(1, ""), (2, "hot"), (4, "hot"), (2, "hot"), (1, "")]
    assert duty is not None
    assert duty.changes == 4
    assert duty.temperature_c == 60.0
    assert strides([r for r in results if r.end_s < 60]) == {STRIDE_S}
    assert strides([r for r in results if 100 < r.start_s < 175]) == {4 * STRIDE_S}
    assert strides([r for r in results if r.start_s > 350]) == {STRIDE_S}


def test_between_the_two_thresholds_nothing_swings() -> None:
    room = Room()

    def weather() -> Iterator[Sample]:
        for _ in range(60):  # ten minutes just below hot, and never as cool as calm asks for
            room.celsius = 75.0
            yield from room.samples(10)

    with Device(
        "d", model=BUNDLE, duty=LIMITS, clock=room.clock, thermometer=room.temperature_c
    ) as device:
        list(device.run(weather()))
        duty = device.health().duty
    assert duty is not None
    assert duty.changes == 0


def test_a_machine_that_tells_no_temperature_still_minds_its_deadlines() -> None:
    def none() -> float:
        raise SensorError("this machine tells no temperature")

    room = Room()
    with Device("d", model=BUNDLE, duty=LIMITS, clock=room.clock, thermometer=none) as device:
        list(device.run(room.samples(60)))
        duty = device.health().duty
    assert duty is not None
    assert (duty.factor, duty.temperature_c) == (1, None)


class Flood:
    """A live source that outruns every model: the loop gets to it when it has given all."""

    live = True

    def __init__(self, clock: ManualClock, samples: int) -> None:
        self._clock = clock
        self._samples = samples
        self.given = threading.Event()

    def __iter__(self) -> Iterator[Sample]:
        for i in range(self._samples):
            yield Sample(i / 10, np.full(6, 0.1, np.float32))
        self._clock.advance(10)
        self.given.set()


def test_what_a_full_queue_drops_counts_as_windows_that_came_too_late() -> None:
    room = Room()
    flood = Flood(room.clock, 5000)
    with Device(
        "d", model=BUNDLE, duty=LIMITS, clock=room.clock, thermometer=room.temperature_c
    ) as device:
        for _ in device.run(flood, tick=lambda: flood.given.wait(60)):
            pass
        health = device.health()
    assert health.sources[""].dropped > 4000
    assert health.duty is not None
    assert (health.duty.factor, health.duty.reason) == (2, "late")


def test_a_reading_out_of_its_range_never_reaches_the_model_unseen() -> None:
    room = Room()

    def spiked() -> Iterator[Sample]:
        for sample in room.samples(30):
            if room.number == 120:
                sample.values[2] = 1e6
            yield sample

    with Device(
        "d", model=BUNDLE, limits={"accelerometer_z": (-160.0, 160.0)}, on_out_of_range="restart"
    ) as device:
        results = list(device.run(spiked()))
        (windows,) = device.health().windows
    assert windows.out_of_range == 1
    assert not [r for r in results if r.start_s <= 12.0 <= r.end_s]


def test_limits_of_a_channel_that_no_model_has_are_refused() -> None:
    with pytest.raises(ConfigError, match="did you mean 'accelerometer_z'"):
        Device("d", model=BUNDLE, limits={"acelerometer_z": (-1.0, 1.0)})
