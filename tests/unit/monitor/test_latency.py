"""Percentiles from buckets are within their stated error of the true ones."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgeml.monitor.latency import MAX_US, Latency


@given(st.lists(st.floats(1.0, 1e9), min_size=1, max_size=200), st.floats(0, 100))
def test_a_percentile_is_within_a_thirty_second_of_the_true_one(
    durations: list[float], percent: float
) -> None:
    latency = Latency()
    for duration in durations:
        latency.add(duration)
    true = float(np.percentile(durations, percent, method="inverted_cdf"))
    assert latency.percentile_us(percent) == pytest.approx(true, rel=1 / 32)
    assert latency.count == len(durations)
    assert latency.max_us == max(durations)


@pytest.mark.parametrize("duration", [0.0, 0.3, -1.0, MAX_US, MAX_US * 8])
def test_durations_off_the_scale_are_counted_at_its_ends(duration: float) -> None:
    latency = Latency()
    latency.add(duration)
    assert latency.count == 1
    assert 0 <= latency.percentile_us(50) <= MAX_US


def test_nothing_added_is_zero_and_a_wrong_percent_is_refused() -> None:
    assert Latency().percentile_us(99) == 0.0
    with pytest.raises(ValueError, match="from 0 to 100"):
        Latency().percentile_us(101)
