"""A steady rate that is not the model's is an error; jitter, gaps and clock steps are none."""

import random
from collections import deque
from collections.abc import Iterator

import numpy as np
import pytest

from edgeml.errors import SensorError
from edgeml.manifest import InputSpec, channels
from edgeml.sensors import Block, Sample, Windower

ROW = np.zeros(2, np.float32)


def windower(rate_hz: float | None = 10.0, window: int = 20, stride: int = 10) -> Windower:
    return Windower(InputSpec(channels(["x", "y"]), rate_hz, window, stride, (window, 2)))


def push(cutter: Windower, times_s: Iterator[float] | np.ndarray | list[float]) -> int:
    for time_s in times_s:
        cutter.push(Sample(float(time_s), ROW))
    return cutter.stats.windows


@pytest.mark.parametrize("found_hz", [7.5, 13.0, 20.0, 100.0, 2000.0])
def test_another_rate_ends_the_stream_within_some_windows_and_both_are_named(
    found_hz: float,
) -> None:
    cutter = windower()
    with pytest.raises(SensorError, match=rf"by their times {found_hz:g} samples .* on 10:"):
        push(cutter, np.arange(4000) / found_hz)
    assert cutter.stats.samples <= max(120, 2.5 * found_hz)


def test_blocks_are_judged_as_samples_are() -> None:
    cutter = windower()
    blocks = (
        Block(np.arange(start, start + 25) / 100, np.zeros((25, 2), np.float32))
        for start in range(0, 1000, 25)
    )
    with pytest.raises(SensorError, match=r"100 samples .* on 10:"):
        deque(map(cutter.push_block, blocks), maxlen=0)
    assert cutter.stats.samples < 300


@pytest.mark.parametrize("found_hz", [8.2, 9.5, 10.0, 11.0, 12.2])
def test_a_crystal_that_is_off_is_no_other_rate(found_hz: float) -> None:
    assert push(windower(), np.arange(5_000) / found_hz) > 450


def test_without_a_rate_time_does_not_matter() -> None:
    assert push(windower(None), np.arange(4000) / 1000) > 390


def test_times_as_coarse_as_twenty_samples_are_no_other_rate() -> None:
    times_s = [i // 20 * 0.02 + i % 20 * 1e-6 for i in range(8_000)]
    coarse = Windower(InputSpec(channels(["x", "y"]), 1000.0, 100, 10, (100, 2)), gap_periods=25.0)
    assert push(coarse, times_s) > 750


def _troubled(chance: random.Random) -> Iterator[float]:
    """A sensor that keeps its rate, by a clock that is set and a line that holds samples up.

    What was held up comes at once, or as fast as the line goes.
    """
    offset_s, free_s, last_s = 0.0, 0.0, 0.0
    for i in range(8_000):
        true_s = i / 10
        if chance.random() < 0.003:
            free_s = true_s + chance.choice([0.5, 2.0, 20.0, 100.0])
        if chance.random() < 0.002:
            offset_s += chance.choice([-3600.0, -1.0, 1.0, 1e6])
        came_s = max(true_s + abs(chance.gauss(0, 0.02)), free_s)
        free_s = came_s + chance.choice([1e-6, 0.02, 0.05]) if came_s > true_s + 0.2 else 0.0
        last_s = max(came_s, last_s + 1e-6)
        yield last_s + offset_s


@pytest.mark.parametrize(
    ("seed", "window", "stride"), [(0, 8, 1), (1, 20, 10), (2, 100, 200), (3, 20, 10)]
)
def test_jitter_bursts_gaps_and_clock_steps_are_no_other_rate(
    seed: int, window: int, stride: int
) -> None:
    cutter = windower(window=window, stride=stride)
    assert push(cutter, _troubled(random.Random(seed))) > 20
    assert cutter.stats.gaps > 5
    assert cutter.stats.backward_steps > 1
    with pytest.raises(SensorError, match="100 samples"):
        push(cutter, 1e9 + np.arange(12_000) / 100)
