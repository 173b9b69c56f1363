"""Time as an argument: the wall clock that a Pi may not have, and the monotonic one it always has.

Whatever decides by time takes a `Clock`, so that tests move time instead of
waiting for it. Deadlines and ages use `monotonic_s`; `now_s` is only for what
is written down, because without a clock battery it may jump by days.
"""

import time
from typing import Protocol


class Clock(Protocol):
    """What a decision may ask about time."""

    def now_s(self) -> float:
        """Seconds since 1970 in UTC, as far as this machine knows."""
        ...

    def monotonic_s(self) -> float:
        """Seconds since some moment in the past; never goes back."""
        ...

    def sleep(self, seconds: float) -> None:
        """Let this thread wait."""
        ...


class SystemClock:
    """The machine's own clocks."""

    __slots__ = ()

    def now_s(self) -> float:
        """Seconds since 1970 in UTC, as far as this machine knows."""
        return time.time()

    def monotonic_s(self) -> float:
        """Seconds since some moment in the past; never goes back."""
        return time.monotonic()

    def sleep(self, seconds: float) -> None:
        """Let this thread wait."""
        time.sleep(seconds)


class ManualClock:
    """A clock that moves only when told, for tests."""

    __slots__ = ("_monotonic_s", "_now_s")

    def __init__(self, now_s: float = 1_700_000_000.0, monotonic_s: float = 0.0) -> None:
        self._now_s = now_s
        self._monotonic_s = monotonic_s

    def now_s(self) -> float:
        """The wall clock's reading."""
        return self._now_s

    def monotonic_s(self) -> float:
        """The monotonic clock's reading."""
        return self._monotonic_s

    def advance(self, seconds: float) -> None:
        """Let time pass on both clocks.

        Raises:
            ValueError: `seconds` is negative; only `step_wall` goes back.
        """
        if seconds < 0:
            raise ValueError(f"advance({seconds}): time passes forward; step_wall sets it back")
        self._now_s += seconds
        self._monotonic_s += seconds

    def sleep(self, seconds: float) -> None:
        """Wait without waiting: both clocks move on at once."""
        self.advance(seconds)

    def step_wall(self, seconds: float) -> None:
        """Set the wall clock forward or back, as NTP or a dead battery does."""
        self._now_s += seconds


def hour_here() -> float:
    """The hour of this machine's day, 0 to 24; half past two is 2.5."""
    now = time.localtime()
    return now.tm_hour + now.tm_min / 60
