"""Latency percentiles in constant memory, for a device that runs for years.

Durations fall into buckets whose width grows with the duration, sixteen to a
doubling, so that a percentile is off by at most 1/32 of itself: the idea of
HdrHistogram (Tene, 2012), with the logarithm taken from the float itself.
"""

import math
from typing import Final

BUCKETS_PER_DOUBLING: Final = 16
_DOUBLINGS: Final = 36
_SIZE: Final = BUCKETS_PER_DOUBLING * _DOUBLINGS

MAX_US: Final = float(1 << _DOUBLINGS)
"""Longer durations (19 hours) count as this one."""


class Latency:
    """Counts durations and tells their percentiles."""

    __slots__ = ("_counts", "_total", "max_us")

    def __init__(self) -> None:
        self._counts = [0] * _SIZE
        self._total = 0
        self.max_us = 0.0

    @property
    def count(self) -> int:
        """How many durations were added."""
        return self._total

    def add(self, duration_us: float) -> None:
        """Count one duration in microseconds; below 1 counts as 1."""
        if duration_us > self.max_us:
            self.max_us = duration_us
        mantissa, exponent = math.frexp(min(max(duration_us, 1.0), MAX_US / 2))
        slot = (exponent - 1) * BUCKETS_PER_DOUBLING + int(
            (mantissa - 0.5) * (2 * BUCKETS_PER_DOUBLING)
        )
        self._counts[slot] += 1
        self._total += 1

    def percentile_us(self, percent: float) -> float:
        """The duration that `percent` of all durations do not exceed, to 1/32 of itself.

        Returns:
            0 where nothing was added.

        Raises:
            ValueError: `percent` is not from 0 to 100.
        """
        if not 0 <= percent <= 100:
            raise ValueError(f"percent is {percent}; it should be from 0 to 100")
        if not self._total:
            return 0.0
        rank = max(1, math.ceil(self._total * percent / 100))
        seen = 0
        for slot, count in enumerate(self._counts):
            seen += count
            if seen >= rank:
                return min(_middle_us(slot), self.max_us)
        return self.max_us


def _middle_us(slot: int) -> float:
    exponent, step = divmod(slot, BUCKETS_PER_DOUBLING)
    return math.ldexp(1.0 + (step + 0.5) / BUCKETS_PER_DOUBLING, exponent)
